//! What a user asks for.

use std::{str::FromStr, time::Duration};

use keyferry_keyspace::objects::Objects;

/// What is compared of each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Type, expiry and the whole value.
    #[default]
    Full,
    /// Type, expiry and length, and of a sample of the keys the whole value.
    Quick,
    /// Whether the key is there.
    Keys,
    /// Type, expiry and length.
    Lengths,
}

impl Mode {
    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Quick => "quick",
            Self::Keys => "keys",
            Self::Lengths => "lengths",
        }
    }
}

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Full, Self::Quick, Self::Keys, Self::Lengths];
        all.into_iter().find(|mode| mode.name() == text).ok_or("expected full, quick, keys or lengths")
    }
}

/// The options of one comparison, next to its two endpoints.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What of the source is compared, and its names on the target.
    pub objects: Objects,
    /// What is compared.
    pub mode: Mode,
    /// A value with more elements than this, or more than 1 MiB, is compared in pieces.
    pub big_key_limit: u64,
    /// Of so many keys in a hundred, [`Mode::Quick`] compares the whole value.
    pub sample: f64,
    /// How often what differs is looked at in all, the walk included.
    pub rounds: u32,
    /// Time between two rounds.
    pub interval: Duration,
    /// How far two deadlines may be apart.
    pub ttl_tolerance: Duration,
    /// How much later a deadline may be on the target.
    pub ttl_grace: Duration,
    /// Keys a second; `None`: as fast as it goes.
    pub rate: Option<u64>,
    /// Whether what differs is copied again.
    pub repair: bool,
}

impl Spec {
    /// What must be the same for a comparison to be gone on with.
    pub(crate) fn fingerprint(&self) -> String {
        format!(
            "{} big={} sample={} tolerance={} grace={} objects={}",
            self.mode.name(),
            self.big_key_limit,
            self.sample,
            self.ttl_tolerance.as_millis(),
            self.ttl_grace.as_millis(),
            self.objects.canonical().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        )
    }
}
