//! Measurement, run by hand: `cargo nextest run --release -p keyferry-cli --run-ignored only -E 'test(speed)' --no-capture`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::mpsc,
    time::Instant,
};

use keyferry_testkit::data;

use super::*;

const KEYS: u64 = 1_000_000;
const VALUE: usize = 100;

/// A million strings of 100 bytes on both sides, as they are and with an expiry each; each time beside the floor: a client
/// that only fetches names and values, and compares nothing.
#[test]
#[ignore = "a measurement"]
fn speed_of_a_million_strings() {
    let (source, target) = (Server::start("redis-7.0").unwrap(), Server::start("redis-7.0").unwrap());
    for server in [&source, &target] {
        data::fill_strings(&server.url(), KEYS, VALUE, 1).unwrap();
    }
    for expiring in [false, true] {
        if expiring {
            // One key that expires is enough for each to be asked.
            for server in [&source, &target] {
                run(server, 0, &["PEXPIREAT key:0000000000 2000000000000"]);
            }
        }
        println!("expiring {expiring}");
        for mode in ["full", "quick", "lengths", "keys", "full"] {
            let mut seconds = Vec::new();
            for _ in 0..3 {
                let before = [&source, &target].map(cpu);
                let begun = Instant::now();
                floor(&source, &target);
                let bare = begun.elapsed().as_secs_f64();
                let between = [&source, &target].map(cpu);
                let mut command = command(&source.url(), &target.url());
                command.args(["--mode", mode]);
                let begun = Instant::now();
                let (done, peak) = large::peak(command);
                let took = begun.elapsed().as_secs_f64();
                done.assert_equal();
                let after = [&source, &target].map(cpu);
                let used = |i: usize| (between[i] - before[i], after[i] - between[i]);
                let (sources, targets) = (used(0), used(1));
                println!(
                    "  {mode}: {took:.2} s, bare {bare:.2} s, {:.2} of its speed; seconds of CPU: source {:.2} (bare {:.2}), \
                     target {:.2} (bare {:.2}), keyferry {:.2}; {} MiB",
                    bare / took,
                    sources.1,
                    sources.0,
                    targets.1,
                    targets.0,
                    peak.cpu,
                    peak.memory >> 20
                );
                seconds.push(took);
            }
            seconds.sort_by(f64::total_cmp);
            println!("  {mode}: median {:.0} k keys/s", KEYS as f64 / 1_000.0 / seconds[1]);
        }
    }
}

/// Seconds of CPU that a server has used.
fn cpu(server: &Server) -> f64 {
    let info = server.info("cpu").unwrap();
    ["used_cpu_user", "used_cpu_sys"].iter().map(|name| info[*name].parse::<f64>().unwrap()).sum()
}

/// All names of the source, and the values of both, with a few requests under way on each connection.
fn floor(source: &Server, target: &Server) {
    let connect = |server: &Server| {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_nodelay(true).unwrap();
        BufReader::with_capacity(1 << 16, stream)
    };
    let line = |from: &mut BufReader<TcpStream>| {
        let mut text = String::new();
        from.read_line(&mut text).unwrap();
        text.trim_end().to_owned()
    };
    let fetch = |server| {
        let (sender, pages) = mpsc::sync_channel::<(usize, Vec<u8>)>(4);
        let mut stream = connect(server);
        let thread = std::thread::spawn(move || {
            let mut value = vec![0; 1 << 16];
            let mut under_way = std::collections::VecDeque::new();
            let mut open = true;
            while open || !under_way.is_empty() {
                if open && under_way.len() < 4 {
                    match pages.recv() {
                        Ok((count, request)) => {
                            stream.get_mut().write_all(&request).unwrap();
                            under_way.push_back(count);
                        }
                        Err(mpsc::RecvError) => open = false,
                    }
                    continue;
                }
                let count: usize = under_way.pop_front().unwrap_or(0);
                line(&mut stream);
                let mut left = count * (format!("${VALUE}\r\n\r\n").len() + VALUE);
                while left > 0 {
                    let most = left.min(value.len());
                    left -= stream.read(&mut value[..most]).unwrap();
                }
            }
        });
        (sender, thread)
    };
    let sides = [fetch(source), fetch(target)];
    let (mut scan, mut cursor) = (connect(source), "0".to_owned());
    loop {
        let request = format!("*4\r\n$4\r\nSCAN\r\n${}\r\n{cursor}\r\n$5\r\nCOUNT\r\n$4\r\n1000\r\n", cursor.len());
        scan.get_mut().write_all(request.as_bytes()).unwrap();
        line(&mut scan);
        line(&mut scan);
        cursor = line(&mut scan);
        let count: usize = line(&mut scan)[1..].parse().unwrap();
        let mut page = format!("*{}\r\n$4\r\nMGET\r\n", count + 1).into_bytes();
        let bytes = page.len() + count * "$14\r\nkey:0000000000\r\n".len();
        let names = page.len();
        page.resize(bytes, 0);
        scan.read_exact(&mut page[names..]).unwrap();
        sides.iter().for_each(|(sender, _)| sender.send((count, page.clone())).unwrap());
        if cursor == "0" {
            break;
        }
    }
    for (sender, thread) in sides {
        drop(sender);
        thread.join().unwrap();
    }
}
