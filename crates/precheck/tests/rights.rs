//! source-permission, target-permission, commands.

use keyferry_precheck::Item;

use super::*;

/// What README says is enough.
const OF_SOURCE: &str = "+psync +replconf +ping +info";
const OF_TARGET: &str = "~* &* +@read +@write +@transaction +@scripting +publish +spublish +ping +info +select +time";

#[test]
fn rights_on_the_source() {
    let target = start("redis-7.0");
    for version in ["redis-3.0", "redis-5.0", "redis-6.2", "redis-7.0", "valkey-9.1", "redis-8.6"] {
        let source = start(version);
        Ask::of(&source, &target).passes(Item::SourcePermission);
        if source.version().has(6, 0) {
            let multi = if source.version().has(7, 0) { "" } else { "+multi +discard" };
            let url = user(&source, &format!("{OF_SOURCE} {multi}"));
            Ask::new(&url, &target.url()).passes(Item::SourcePermission);
            for (lacking, name) in [("-psync", "PSYNC"), ("-replconf", "REPLCONF")] {
                let url = user(&source, &format!("{OF_SOURCE} {multi} {lacking}"));
                let reason = Ask::new(&url, &target.url()).fails(Item::SourcePermission);
                assert!(reason.starts_with(name), "{reason}");
            }
        }
        // No link was opened, and no snapshot was made.
        assert_eq!(source.info("replication").unwrap()["connected_slaves"], "0");
        assert_eq!(source.info("stats").unwrap()["sync_full"], "0", "{version}");
    }
    // It cannot be tried without MULTI here.
    let source = start("redis-6.2");
    let url = user(&source, OF_SOURCE);
    Ask::new(&url, &target.url()).warns(Item::SourcePermission);
    let renamed = Server::builder("redis-5.0").arg("rename-command PSYNC SECRET").start().unwrap();
    Ask::of(&renamed, &target).fails(Item::SourcePermission);
}

#[test]
fn rights_on_the_target() {
    let source = start("redis-7.0");
    for version in ["redis-3.0", "redis-6.2", "redis-7.0", "valkey-9.1"] {
        let target = start(version);
        Ask::of(&source, &target).passes(Item::TargetPermission);
        if target.version().has(6, 2) {
            let rights = match target.version().has(7, 0) {
                true => OF_TARGET.to_owned(),
                false => OF_TARGET.replace("+spublish", ""),
            };
            let look = |more: &str| Ask::new(&source.url(), &user(&target, &format!("{rights} {more}")));
            look("").passes(Item::TargetPermission);
            for lacking in ["-hset", "-eval", "-restore", "-multi", "-exec", "-watch"] {
                let reason = look(lacking).fails(Item::TargetPermission);
                assert!(reason.contains(&lacking[1..].to_uppercase()), "{reason}");
            }
            let reason = look("-xadd").warns(Item::TargetPermission);
            assert!(reason.contains("XADD"), "{reason}");
            // What a cut-over will ask for in a script, and what it is answered there.
            let reason = look("-time").warns(Item::TargetPermission);
            assert!(reason.contains("TIME") && reason.contains("cut-over"), "{reason}");
            let asked = |more: &str| {
                let mut conn =
                    redis::Client::open(user(&target, &format!("{rights} {more}"))).unwrap().get_connection().unwrap();
                cmd("EVAL").arg("return redis.call('TIME')").arg(0).exec(&mut conn).is_ok()
            };
            assert!(asked("") && !asked("-time"), "{version}");
            // Names of keys.
            look("resetkeys ~app:*").fails(Item::TargetPermission);
            look("resetkeys ~app:* ~__keyferry_*").warns(Item::TargetPermission);
        }
        assert_eq!(target.keys().unwrap(), 0, "nothing was written");
    }
}

#[test]
fn blocked_and_renamed_commands() {
    let (source, target) = pair("redis-7.0");
    Ask::of(&source, &target).passes(Item::Commands);
    Ask::of(&start("redis-2.8"), &start("redis-3.0")).passes(Item::Commands);
    let without =
        |name: &str| Server::builder("redis-5.0").arg(&format!("rename-command {name} \"\"")).start().unwrap();
    let reason = Ask::of(&without("PSYNC"), &target).fails(Item::Commands);
    assert!(reason.contains("source") && reason.contains("PSYNC"), "{reason}");
    let reason = Ask::of(&source, &without("RESTORE")).fails(Item::Commands);
    assert!(reason.contains("target") && reason.contains("RESTORE"), "{reason}");
    let no_flush = without("FLUSHALL");
    let ask = Ask::of(&source, &no_flush);
    assert!(ask.warns(Item::Commands).contains("FLUSHALL"));
    ask.with(|ask| ask.on_conflict = OnConflict::Clear).fails(Item::Commands);
    // It does not tell.
    let url = user(&source, OF_SOURCE);
    assert!(Ask::new(&url, &target.url()).warns(Item::Commands).contains("does not tell"));
}
