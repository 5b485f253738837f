//! source-connection, target-connection.

use std::net::TcpListener;

use keyferry_precheck::{Item, Status};

use super::{fake::Answer, *};

#[test]
fn connections() {
    let (source, target) = pair("redis-7.0");
    let good = Ask::of(&source, &target);
    assert!(good.passes(Item::SourceConnection).contains("Redis 7.0"));
    assert!(good.passes(Item::TargetConnection).contains("Redis 7.0"));

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("redis://{nobody}");
    let finding = Ask::new(&nobody, &target.url()).look(Item::SourceConnection);
    assert_eq!((finding.status, &finding.measured["code"]), (Status::Failed, &"SRC-0002".into()));
    let finding = Ask::new(&source.url(), &nobody).look(Item::TargetConnection);
    assert_eq!((finding.status, &finding.measured["code"]), (Status::Failed, &"TGT-0002".into()));

    // What needs the other side is not looked at, and the rest is.
    let report = Ask::new(&nobody, &target.url()).report(&[]);
    let status = |item| report.items.iter().find(|finding| finding.item == item).unwrap().status;
    assert_eq!(status(Item::ClockSkew), Status::Skipped);
    assert_eq!(status(Item::TargetRole), Status::Passed);
    assert!(!report.ok);

    for server in [&source, &target] {
        let loading = fake::start(server, vec![("PING", Answer::Say("-LOADING Redis is loading the dataset\r\n"))]);
        Ask::new(&loading, &target.url()).warns(Item::SourceConnection);
        Ask::new(&source.url(), &loading).warns(Item::TargetConnection);
    }
    let nameless = fake::start(&source, vec![fake::without("redis_version")]);
    Ask::new(&nameless, &target.url()).fails(Item::SourceConnection);

    // An address where nobody is.
    let () = ask(&source, "REPLICAOF 127.0.0.1 1");
    assert!(good.warns(Item::SourceConnection).contains("link to its primary"));
}

#[test]
fn a_wrong_password_is_not_shown() {
    let source = Server::builder("redis-7.0").password("right").start().unwrap();
    let target = start("redis-7.0");
    let url = format!("redis://:topsecret@{}", source.address());
    let reason = Ask::new(&url, &target.url()).fails(Item::SourceConnection);
    assert!(!reason.contains("topsecret"), "{reason}");
}
