//! The figures as a table.

use super::{Figures, goals::Bound};

impl Figures {
    pub(super) fn print(&self) {
        println!("\nserver {}, {} CPUs, median of {} runs", self.server, self.cpus, self.runs);
        self.print_full();
        if let Some(incremental) = &self.incremental {
            println!("\nincremental, {} SETs       native      ours", incremental.commands);
            println!(
                "in step after their start  {:>6.2} s  {:>6.2} s",
                incremental.native.from_start, incremental.ours.from_start
            );
            println!(
                "in step after their end    {:>6.3} s  {:>6.3} s",
                incremental.native.from_end, incremental.ours.from_end
            );
            println!("CPU {:.2} s/1M, RSS {:.1} MiB", incremental.cpu_seconds_per_million, incremental.peak_rss_mib);
        }
        if let Some(drain) = &self.drain {
            println!("\ndrain of {:>8} SETs  plain client         ours   ratio", drain.commands);
            println!(
                "commands/s             {:>12.0} {:>12.0} {:>7.2}",
                drain.plain_commands_per_second, drain.commands_per_second, drain.ratio
            );
            println!(
                "CPU s/1M of the target {:>12.2} {:>12.2}",
                drain.plain_target_cpu_seconds_per_million, drain.target_cpu_seconds_per_million
            );
            println!(
                "CPU {:.2} s/1M ({:.2} s/1M with intake), RSS {:.1} MiB",
                drain.cpu_seconds_per_million, drain.cpu_seconds_per_million_with_intake, drain.peak_rss_mib
            );
        }
        if let Some(delay) = &self.delay {
            println!("\ndelay, {:>2} s    p50 ms    p99 ms    max ms    p99 ms from send    writes/s", delay.seconds);
            for (name, figures) in [("native", &delay.native), ("ours", &delay.ours)] {
                println!(
                    "{name:<12} {:>9.2} {:>9.2} {:>9.2} {:>19.2} {:>11.0}",
                    figures.p50_ms, figures.p99_ms, figures.max_ms, figures.p99_from_send_ms, figures.writes_per_second
                );
            }
            println!("CPU {:.2} s/1M, RSS {:.1} MiB", delay.cpu_seconds_per_million, delay.peak_rss_mib);
        }
        println!("\n{:<44} {:>16} {:>10}", "goals", "", "figure");
        for goal in &self.goals {
            let bound = match goal.bound {
                Bound::AtMost(most) => format!("at most {most}"),
                Bound::AtLeast(least) => format!("at least {least}"),
            };
            let met = if goal.met { "met" } else { "NOT MET" };
            println!("{:<44} {bound:>16} {:>10.2}  {met}", goal.what, goal.figure);
        }
        println!();
    }

    fn print_full(&self) {
        let parts = [("strings", &self.strings), ("mixed", &self.mixed)];
        let measured: Vec<_> = parts.iter().filter_map(|(name, full)| Some((name, full.as_ref()?))).collect();
        if !measured.is_empty() {
            println!(
                "\nfull copy  {:>9} {:>10} {:>10} {:>7} {:>9} {:>11} {:>9}",
                "keys", "native s", "ours s", "ratio", "CPU s", "CPU s/1M", "RSS MiB"
            );
        }
        for (name, full) in measured {
            println!(
                "{name:<10} {:>9} {:>10.2} {:>10.2} {:>7.2} {:>9.2} {:>11.2} {:>9.1}",
                full.keys,
                full.native_seconds,
                full.seconds,
                full.ratio,
                full.cpu_seconds,
                full.cpu_seconds_per_million_keys,
                full.peak_rss_mib
            );
        }
    }
}
