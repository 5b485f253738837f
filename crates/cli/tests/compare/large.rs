//! Large values in constant memory.

use super::*;

/// What a process took, as far as it could still be read shortly before its end.
pub(super) struct Peak {
    /// Bytes that it held at most.
    pub(super) memory: u64,
    /// Seconds of CPU.
    pub(super) cpu: f64,
}

/// Runs a comparison and watches what it takes.
pub(super) fn peak(mut command: Command) -> (Done, Peak) {
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = process::Supervised::spawn(command, false).unwrap();
    let (mut stdout, mut stderr) =
        child.with_child(|child| (child.stdout.take().unwrap(), child.stderr.take().unwrap()));
    let path = format!("/proc/{}/status", child.pid());
    let mut peak = Peak { memory: 0, cpu: 0.0 };
    keyferry_testkit::wait_until("its end", LONG, || {
        if let Ok(status) = std::fs::read_to_string(&path) {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let held = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0) * 1024;
            peak.memory = peak.memory.max(held);
        }
        if let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())) {
            // Behind the name: user and system time are fields 14 and 15, in hundredths of a second.
            let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
            peak.cpu = peak.cpu.max(fields.map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum());
        }
        child.status().unwrap().is_some()
    })
    .unwrap();
    let read = |from: &mut dyn std::io::Read| {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    };
    let code = child.status().unwrap().unwrap().code().unwrap_or(-1);
    (Done { code, stdout: read(&mut stdout), stderr: read(&mut stderr) }, peak)
}

/// 300,000 fields, 100,000 elements of all else, one element of each changed.
#[test]
fn elements_in_constant_memory() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    let script = "for i=0,299999 do local v=string.rep('v',80)..i \
        redis.call('HSET','hash','f'..i,v) if i%3==0 then redis.call('SADD','set',v) redis.call('ZADD','zset',i+0.5,v) \
        redis.call('RPUSH','list',v) redis.call('XADD','stream',i+1 ..'-1','f',v) end end \
        redis.call('SET','string',string.rep('0123456789',5000000))";
    for server in [&source, &target] {
        let _: redis::Value = cmd("EVAL").arg(script).arg(0).query(&mut server.conn().unwrap()).unwrap();
    }
    let full = || peak(command(&source.url(), &target.url()));
    let (done, most) = full();
    done.assert_equal();
    assert!(most.memory < 64 << 20, "{} bytes", most.memory);
    let changes = [
        "HSET hash f123456 x",
        "HDEL hash f7",
        "HSET hash new x",
        "SADD set new",
        "ZADD zset 5 new",
        "LSET list 12345 x",
        "XDEL stream 123457-1",
        "SETRANGE string 40000000 x",
    ];
    run(&target, 0, &changes);
    let mut command = command(&source.url(), &target.url());
    command.args(["--rounds", "1"]);
    let (done, most) = peak(command);
    assert!(most.memory < 64 << 20, "{} bytes", most.memory);
    let details: Vec<String> = done
        .lines()
        .iter()
        .filter_map(|d| Some(format!("{}: {}", d["key"].as_str()?, d["detail"].as_str()?)))
        .collect();
    let of = |key: &str| {
        details.iter().find(|d| d.starts_with(&format!("{key}: "))).unwrap_or_else(|| panic!("{details:?}"))
    };
    let hash = of("hash");
    assert!(hash.contains("3 fields: "), "{hash}");
    for part in ["f123456 (differs)", "f7 (missing on the target)", "new (missing on the source)"] {
        assert!(hash.contains(part), "{hash}");
    }
    assert!(of("set").contains("1 member: new (missing on the source)"));
    assert!(of("zset").contains("1 member: new (missing on the source)"));
    assert!(of("list").contains("1 element: 12345 (differs)"));
    assert!(of("stream").contains("1 entry: 123457-1 (missing on the target)"));
    assert!(of("string").contains("the first that differs is 40000000"));
    assert_eq!(details.len(), 6);
}

/// Elements that do not fit many at a time are compared a few at a time, or one.
#[test]
fn elements_of_many_sizes() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.4").unwrap());
    let script = "for i=1,12 do local v=string.rep('v',1000000)..i \
        redis.call('HSET','hash','f'..i,v) redis.call('RPUSH','list',v) redis.call('SADD','set',v) \
        redis.call('ZADD','zset',i,v) redis.call('XADD','stream',i..'-1','f',v) redis.call('SET','s'..i,v) end \
        redis.call('HSET','huge','f',string.rep('v',20000000))";
    for server in [&source, &target] {
        let _: redis::Value = cmd("EVAL").arg(script).arg(0).query(&mut server.conn().unwrap()).unwrap();
    }
    compare(&source, &target, &[]).assert_equal();
    run(&target, 0, &["HSET hash f9 x", "LSET list 11 x", "XDEL stream 12-1", "SETRANGE s7 999999 x"]);
    let found: Vec<String> = compare(&source, &target, &[]).found().0.into_iter().map(|(_, key, _)| key).collect();
    assert_eq!(found, ["hash", "list", "s7", "stream"]);
}
