//! Payloads of the stream: `RESTORE` of a value and `FUNCTION RESTORE`, for a target that may not read what the source
//! has read.

use keyferry_model::{Error, OnConflict, Result};
use keyferry_rdb::{Entry, dump};
use keyferry_resp::{
    Limits, encode,
    request::{Request, Scanner},
};

use super::apply::Apply;
use crate::target::{Batch, Deadlines, Fed, Rebuild, Restore, What};

impl Apply<'_> {
    /// Passes on a command with a payload: as it is, or with the footer of an older version, or as the commands that build
    /// the value.
    pub(super) fn pass_payload(&mut self, request: &Request<'_>) -> Result<()> {
        let args: Vec<&[u8]> = request.args().collect();
        if request.name().eq_ignore_ascii_case(b"FUNCTION") {
            return self.pass_libraries(&args, request);
        }
        // What is no payload is for the target to judge.
        let found = args.get(3).and_then(|payload| dump::verify(payload).ok());
        let (Some((kind, raw, version)), &[_, key, ttl, payload, ..]) = (found, &args[..]) else {
            self.pass_known(request);
            return Ok(());
        };
        let absolute = args.iter().skip(4).any(|arg| arg.eq_ignore_ascii_case(b"ABSTTL"));
        let ttl: Option<u64> = std::str::from_utf8(ttl).ok().and_then(|ttl| ttl.parse().ok()).filter(|&ttl| ttl > 0);
        let floor = if self.expiry.grace_ms > 0 { self.now_ms } else { 0 };
        let expire_ms = ttl.map(|ttl| if absolute { ttl.max(floor) } else { ttl.saturating_add(self.now_ms) });
        let db = self.objects.database(self.source_db).unwrap_or(self.source_db);
        let entry = Entry { key, kind, raw, meta: &[], expire_ms, idle_s: None, freq: None, db };
        let readable = self.restore.readable(&entry);
        let Some(lowest) = readable else { return self.rebuild(&entry) };
        // Access clocks and the absolute time came together.
        let clocks = self.restore.server.restore_idle_freq();
        if clocks && self.restore.server.reads_dump(version) {
            self.pass_known(request);
            return Ok(());
        }
        let mut older = Vec::new();
        if !dump::write_again(&mut older, payload, lowest) {
            self.pass_known(request);
            return Ok(());
        }
        let mut kept: Vec<&[u8]> = vec![b"RESTORE", key, args[2], &older];
        let mut options = args[4..].iter();
        while let Some(option) = options.next() {
            let clock = option.eq_ignore_ascii_case(b"IDLETIME") || option.eq_ignore_ascii_case(b"FREQ");
            match clock && !clocks {
                true => drop(options.next()),
                false => kept.push(option),
            }
        }
        self.pass_own(&kept);
        Ok(())
    }

    /// Builds a value with commands. It replaces what is there, since the stream says so.
    fn rebuild(&mut self, entry: &Entry<'_>) -> Result<()> {
        let restore = Restore {
            stats: self.stats,
            server: self.restore.server,
            modules: self.restore.modules.clone(),
            on_conflict: OnConflict::Replace,
            on_unsupported: self.restore.on_unsupported,
            place: self.restore.place.clone(),
            deadlines: if self.expiry.holds { Deadlines::Held } else { Deadlines::Later(self.expiry.grace_ms) },
        };
        let context = |e: Error| Error::new(e.kind(), format!("follow RESTORE at offset {}", self.offset)).caused_by(e);
        let mut rebuild = Rebuild::begin_whole(&restore, entry).map_err(context)?;
        let (mut raw, mut built, mut nothing) = (entry.raw, Batch::default(), true);
        loop {
            let (used, fed) = rebuild.feed(&restore, raw, &mut built, self.now_ms).map_err(context)?;
            raw = &raw[used..];
            nothing &= built.expects.is_empty();
            // Its replies are those of commands of the stream: they say no more than that there was no error.
            for expect in &built.expects {
                self.batch.expect_at(What::Command, self.offset, self.batch.bytes.len() + expect.at);
            }
            self.batch.bytes.extend_from_slice(&built.bytes);
            built.clear();
            match fed {
                Fed::Finished => break,
                Fed::BatchFull => {}
                Fed::NeedsInput => {
                    let what = format!("follow RESTORE at offset {}: its value ends too early", self.offset);
                    return Err(Error::new(keyferry_model::ErrorKind::RdbCorrupt, what));
                }
            }
        }
        // What is left out takes the place of what was there.
        if nothing {
            self.batch.command(What::Command, self.offset, &[b"DEL", entry.key]);
        }
        Ok(())
    }

    /// `FUNCTION RESTORE payload [policy]`: libraries are written alike by all versions that have them.
    fn pass_libraries(&mut self, args: &[&[u8]], request: &Request<'_>) -> Result<()> {
        let [name, word, payload, policy @ ..] = args else {
            self.pass_known(request);
            return Ok(());
        };
        // The first version with functions, which all later ones read.
        const FIRST: u16 = 10;
        let mut older = Vec::new();
        if !dump::write_again(&mut older, payload, FIRST) {
            self.pass_known(request);
            return Ok(());
        }
        let mut kept: Vec<&[u8]> = vec![name, word, &older];
        kept.extend(policy);
        self.pass_own(&kept);
        Ok(())
    }

    /// Passes on a command of ours that the target knows.
    fn pass_own(&mut self, args: &[&[u8]]) {
        let mut bytes = Vec::new();
        encode::command(&mut bytes, args);
        if let Ok(Some(request)) = Scanner::new(Limits::default()).next(&bytes) {
            self.pass_known(&request);
        }
    }
}
