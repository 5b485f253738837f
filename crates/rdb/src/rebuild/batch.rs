//! Elements of a collection on their way into commands that take many.

use super::command::{self, argument, digits, header};
use crate::{packed::Scalar, wire::offset};

/// Buffers are kept from batch to batch up to this size.
const KEEP: usize = 1 << 20;

/// Elements that wait for their command.
#[derive(Default)]
pub(super) struct Batch {
    /// Arguments, as they will be written.
    arguments: Vec<u8>,
    count: u64,
    elements: usize,
    ttls: Ttls,
}

/// Expiries of the fields of a batch, to be set behind it.
#[derive(Default)]
struct Ttls {
    /// Whole commands.
    commands: Vec<u8>,
    count: u64,
    /// Fields of the command that is not yet whole, which share an expiry.
    fields: Vec<u8>,
    field_count: u64,
    ms: u64,
}

/// How large a batch may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) elements: usize,
}

impl Batch {
    /// Whether an element of so many bytes must wait for the next batch.
    pub(super) fn is_full(&self, len: usize, bounds: Bounds) -> bool {
        let held = self.arguments.len().saturating_add(self.ttls.commands.len()).saturating_add(self.ttls.fields.len());
        self.elements > 0 && (self.elements >= bounds.elements || held.saturating_add(len) > bounds.bytes)
    }

    /// Adds one element.
    pub(super) fn add(&mut self, parts: &[Scalar<'_>]) {
        for &part in parts {
            command::scalar(&mut self.arguments, part);
        }
        self.count = self.count.saturating_add(offset(parts.len()));
        self.elements = self.elements.saturating_add(1);
    }

    /// Notes the expiry of a field that was added.
    pub(super) fn expire(&mut self, key: &[u8], field: Scalar<'_>, ms: u64) {
        if self.ttls.field_count > 0 && self.ttls.ms != ms {
            self.ttls.close(key);
        }
        self.ttls.ms = ms;
        command::scalar(&mut self.ttls.fields, field);
        self.ttls.field_count = self.ttls.field_count.saturating_add(1);
    }

    /// Writes what was added, as the command of this name; gives the number of commands.
    pub(super) fn flush(&mut self, name: &[u8], key: &[u8], out: &mut Vec<u8>) -> u64 {
        if self.elements == 0 {
            return 0;
        }
        header(out, self.count.saturating_add(2));
        argument(out, name);
        argument(out, key);
        out.extend_from_slice(&self.arguments);
        self.ttls.close(key);
        out.extend_from_slice(&self.ttls.commands);
        let commands = self.ttls.count.saturating_add(1);
        self.count = 0;
        self.elements = 0;
        self.ttls.count = 0;
        for buffer in [&mut self.arguments, &mut self.ttls.commands, &mut self.ttls.fields] {
            if buffer.capacity() > KEEP {
                *buffer = Vec::new();
            }
            buffer.clear();
        }
        commands
    }
}

impl Ttls {
    /// Makes a command of the fields at hand.
    fn close(&mut self, key: &[u8]) {
        if self.field_count == 0 {
            return;
        }
        let out = &mut self.commands;
        header(out, self.field_count.saturating_add(5));
        for part in [&b"HPEXPIREAT"[..], key, &digits(self.ms), b"FIELDS", &digits(self.field_count)] {
            argument(out, part);
        }
        out.extend_from_slice(&self.fields);
        self.fields.clear();
        self.field_count = 0;
        self.count = self.count.saturating_add(1);
    }
}
