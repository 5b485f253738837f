//! What is flagged as a write and is not called, with the reason.

/// Write commands of at least one server that no family calls.
pub const COMMANDS: [(&str, &str); 3] = [
    ("migrate", "writes to another server; in the stream it is the DEL of its key"),
    ("trimslots", "internal, for clusters only: removes the keys of slots that another node has taken over"),
    ("cluster|flushslot", "for clusters only"),
];

/// Options that servers document for a write command and that no family uses: command, option, reason.
pub const OPTIONS: [(&str, &str, &str); 6] = [
    ("georadius", "WITHCOORD", "refused together with STORE"),
    ("georadius", "WITHDIST", "refused together with STORE"),
    ("georadius", "WITHHASH", "refused together with STORE"),
    ("georadiusbymember", "WITHCOORD", "refused together with STORE"),
    ("georadiusbymember", "WITHDIST", "refused together with STORE"),
    ("georadiusbymember", "WITHHASH", "refused together with STORE"),
];
