//! What a running task shows: a bar, JSON lines, log lines, and one last line.

use std::{
    cell::Cell,
    future::pending,
    io::{self, IsTerminal as _, Write},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
    time::Duration,
};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use keyferry_engine::{Mark, Outcome, Stats};
use keyferry_model::{Phase, Progress};
use tokio::time::{Instant, sleep_until};
use tracing_subscriber::fmt::MakeWriter;

use crate::args::ProgressMode;

/// Where progress goes.
enum Output {
    Bar(ProgressBar),
    Json(Lines),
    Log,
    Nothing,
}

/// Shows progress at its own pace.
pub(crate) struct Reporter {
    output: Output,
    /// When the next picture is due, and the reading that its rates count from.
    next: Cell<Option<(Instant, Mark)>>,
}

impl Reporter {
    pub(crate) fn new(mode: ProgressMode) -> Self {
        let output = match mode {
            ProgressMode::Bar => Output::Bar(bar()),
            ProgressMode::Auto if io::stderr().is_terminal() => Output::Bar(bar()),
            ProgressMode::Auto => Output::Log,
            ProgressMode::Json => Output::Json(Lines::start()),
            ProgressMode::None => Output::Nothing,
        };
        Self { output, next: Cell::new(None) }
    }

    /// A writer for the log that does not tear the bar.
    pub(crate) fn log_writer(&self) -> LogWriter {
        LogWriter(match &self.output {
            Output::Bar(bar) => Some(bar.clone()),
            _ => None,
        })
    }

    fn every(&self) -> Duration {
        match self.output {
            Output::Bar(_) => Duration::from_millis(200),
            Output::Json(_) => Duration::from_secs(1),
            Output::Log | Output::Nothing => Duration::from_secs(10),
        }
    }

    /// Waits until the next picture is due and shows it. Dropping the future loses nothing.
    pub(crate) async fn tick(&self, stats: &Stats) {
        if matches!(self.output, Output::Nothing) {
            return pending().await;
        }
        let (at, since) = self.next.get().unwrap_or_else(|| (Instant::now() + self.every(), stats.mark()));
        self.next.set(Some((at, since)));
        sleep_until(at).await;
        self.show(&stats.progress(&since));
        self.next.set(Some((at.max(Instant::now()) + self.every(), stats.mark())));
    }

    /// Shows where one task ended in whose place another one begins.
    pub(crate) fn turn(&self, stats: &Stats) {
        let since = self.next.take().map_or_else(|| stats.mark(), |(_, since)| since);
        self.show(&stats.progress(&since));
    }

    /// Shows where it ended.
    pub(crate) fn last(&self, stats: &Stats) {
        let since = self.next.get().map_or_else(|| stats.mark(), |(_, since)| since);
        self.show(&stats.progress(&since));
        match &self.output {
            Output::Bar(bar) => bar.abandon(),
            Output::Json(lines) => lines.finish(),
            Output::Log | Output::Nothing => {}
        }
    }

    fn show(&self, p: &Progress) {
        match &self.output {
            Output::Bar(bar) => show_bar(bar, p),
            Output::Json(lines) => lines.put(serde_json::to_string(p).unwrap_or_default()),
            Output::Log => tracing::info!("{}", line(p)),
            Output::Nothing => {}
        }
    }
}

/// Lines for stdout, written by a thread of their own: a reader that stops reading, or has gone, is no reason to stop
/// a migration. While a line waits to be written, newer ones replace nothing: they are dropped.
struct Lines {
    to_writer: SyncSender<String>,
    written: Receiver<()>,
}

/// For the last line of a reader that reads.
const LAST_LINE: Duration = Duration::from_secs(1);

impl Lines {
    fn start() -> Self {
        let (to_writer, lines) = sync_channel::<String>(1);
        let (done, written) = sync_channel(1);
        thread::spawn(move || {
            for line in lines {
                let end = line.is_empty();
                if end || writeln!(io::stdout().lock(), "{line}").is_err() {
                    break;
                }
            }
            let _ = done.send(());
        });
        Self { to_writer, written }
    }

    fn put(&self, line: String) {
        let _ = self.to_writer.try_send(line);
    }

    /// Waits until all lines are out, but not for long. An empty line ends the thread.
    fn finish(&self) {
        let until = std::time::Instant::now() + LAST_LINE;
        while std::time::Instant::now() < until {
            match self.to_writer.try_send(String::new()) {
                Err(TrySendError::Full(_)) => thread::sleep(Duration::from_millis(5)),
                _ => break,
            }
        }
        let _ = self.written.recv_timeout(LAST_LINE);
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
    // The template is a constant: a wrong one shows in the first test that draws it.
    if let Ok(style) = ProgressStyle::with_template("{prefix:<12} [{bar:24}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn show_bar(bar: &ProgressBar, p: &Progress) {
    bar.set_prefix(p.phase.name().replace('_', " "));
    bar.set_position((p.percent * 10.0) as u64);
    bar.set_message(line(p));
}

/// The picture in words.
fn line(p: &Progress) -> String {
    match p.phase {
        Phase::Connecting => "waiting for the source".into(),
        Phase::FullSync => format!(
            "{:.1} %, {} keys, {}, {} keys/s, {} left",
            p.percent,
            HumanCount(p.keys),
            HumanBytes(p.bytes),
            HumanCount(p.keys_per_second as u64),
            time_left(p).map_or_else(|| "?".into(), |left| HumanDuration(left).to_string()),
        ),
        Phase::Incremental | Phase::Retrying | Phase::Paused | Phase::Stopped | Phase::Failed => format!(
            "{} keys, offset {}, delay {} / {:.1} s, {} commands/s{}{}",
            HumanCount(p.keys),
            p.applied_offset,
            HumanBytes(p.delay_bytes.unwrap_or_default()),
            p.delay_seconds.unwrap_or_default(),
            HumanCount(p.commands_per_second as u64),
            if p.in_step { ", in step" } else { "" },
            match &p.last_error {
                Some(e) if p.phase == Phase::Retrying => format!(", {e}"),
                _ => String::new(),
            },
        ),
    }
}

/// From the share that is done and the rate of now.
fn time_left(p: &Progress) -> Option<Duration> {
    let known = p.keys_per_second > 0.0 && p.percent > 0.0;
    known.then(|| {
        let all = p.keys as f64 * 100.0 / p.percent;
        Duration::from_secs_f64(((all - p.keys as f64) / p.keys_per_second).clamp(0.0, 1e9))
    })
}

/// The last line of a task that did not fail.
pub(crate) fn summary(outcome: Outcome, stats: &Stats, took: Duration) -> String {
    let p = stats.progress(&stats.mark());
    let what = match (outcome, p.delay_bytes) {
        (Outcome::Copied, _) => "the full copy is complete",
        (Outcome::Synced, _) => "both sides are in step",
        (Outcome::CutOver, _) => "cut over: the target is the place to write",
        (Outcome::TurnedRound, _) => {
            "cut over: the target is the place to write; the way back has a position and is not followed, as asked"
        }
        (Outcome::Interrupted, None) => "interrupted: the target holds an incomplete copy",
        (Outcome::Interrupted, Some(_)) if !stats.is_settled() => {
            "stopped before expiries were set right: they are still held on the target"
        }
        (Outcome::Interrupted, Some(_)) => "stopped: everything up to the offset below is on the target",
    };
    let kept = match stats.kept() {
        0 => String::new(),
        n => format!(" ({} of them kept as the target had them)", HumanCount(n)),
    };
    let left_out: String =
        stats.unsupported().iter().map(|(what, n)| format!("; {what}: {}", HumanCount(*n))).collect();
    let scripts = match stats.scripts() {
        0 => String::new(),
        n => format!("; scripts run again by the target: {}", HumanCount(n)),
    };
    format!(
        "{what}; {} keys{kept}{left_out}{scripts}, {} received, offset {}, {:.1} s",
        HumanCount(p.keys),
        HumanBytes(p.bytes),
        p.applied_offset,
        took.as_secs_f64()
    )
}

/// Writes log lines to stderr, above the bar where there is one.
pub(crate) struct LogWriter(pub(crate) Option<ProgressBar>);

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter(self.0.as_ref())
    }
}

pub(crate) struct LineWriter<'a>(Option<&'a ProgressBar>);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().lock().write_all(line).map(|()| line.len());
        self.0.map_or_else(write, |bar| bar.suspend(write))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_every_phase() {
        let mut p =
            Progress { phase: Phase::FullSync, keys: 500, percent: 50.0, keys_per_second: 100.0, ..Default::default() };
        assert_eq!(line(&p), "50.0 %, 500 keys, 0 B, 100 keys/s, 5 seconds left");
        p.keys_per_second = 0.0;
        assert!(line(&p).ends_with("? left"));
        p = Progress {
            phase: Phase::Incremental,
            applied_offset: 7,
            delay_bytes: Some(3),
            delay_seconds: Some(1.25),
            ..p
        };
        assert_eq!(line(&p), "500 keys, offset 7, delay 3 B / 1.2 s, 0 commands/s");
        p.in_step = true;
        assert!(line(&p).ends_with(", in step"));
    }
}
