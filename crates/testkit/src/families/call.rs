//! One command as it is sent, and which servers know its form.

use crate::server::Version;

/// Which servers know a form of a command. A server that does not have the command at all is found out by asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// Every server that has the command.
    Always,
    /// That Redis and later, and what descends from it.
    Redis(u32, u32),
    /// That Valkey and later, and no Redis.
    Valkey(u32, u32),
    /// Both from a version of their own.
    Both((u32, u32), (u32, u32)),
}

/// A command with its arguments.
///
/// Words are parted by spaces, except between single quotes. `$` stands for the name of the run, so that runs do not
/// meet; what stands in braces is filled in when it is sent, see `fill`.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    words: &'static str,
    since: Since,
    effect: bool,
    scripts: bool,
}

impl Call {
    /// Whether a server of this version knows the form.
    pub fn known_to(&self, version: &Version) -> bool {
        match self.since {
            Since::Always => true,
            Since::Redis(major, minor) => version.has(major, minor),
            Since::Valkey(major, minor) => version.valkey(major, minor),
            Since::Both(redis, valkey) => version.has(redis.0, redis.1) || version.valkey(valkey.0, valkey.1),
        }
    }

    /// Whether the data set is changed by it.
    pub fn has_effect(&self) -> bool {
        self.effect
    }

    /// As it stands in the table.
    pub fn text(&self) -> &'static str {
        self.words
    }

    /// The words, with the name of the run. What stands in braces is not filled in.
    pub fn words(&self, run: &str) -> Vec<String> {
        let quoted = self.words.split('\'').enumerate();
        let words = quoted.flat_map(|(i, part)| match i % 2 {
            1 => vec![part],
            _ => part.split_whitespace().collect(),
        });
        words.map(|word| word.replace('$', run)).collect()
    }

    /// Not called from scripts, which refuse an option of it.
    pub(super) const fn not_in_scripts(mut self) -> Self {
        self.scripts = false;
        self
    }

    pub(super) fn in_scripts(&self) -> bool {
        self.scripts
    }

    /// Nothing is changed: it is there for its way through the stream, or its reply.
    pub(super) const fn idle(mut self) -> Self {
        self.effect = false;
        self
    }
}

const fn call(words: &'static str, since: Since) -> Call {
    Call { words, since, effect: true, scripts: true }
}

/// Known to every server that has the command.
pub(super) const fn every(words: &'static str) -> Call {
    call(words, Since::Always)
}

/// Known to that Redis and later, and to its descendants.
pub(super) const fn redis(major: u32, minor: u32, words: &'static str) -> Call {
    call(words, Since::Redis(major, minor))
}

/// Known to that Valkey and later.
pub(super) const fn valkey(major: u32, minor: u32, words: &'static str) -> Call {
    call(words, Since::Valkey(major, minor))
}

/// Known to that Redis and that Valkey and later ones.
pub(super) const fn both(redis: (u32, u32), valkey: (u32, u32), words: &'static str) -> Call {
    call(words, Since::Both(redis, valkey))
}
