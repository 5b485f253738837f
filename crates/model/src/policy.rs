//! The one table that says what an error kind means: its stable code, whether it is retried, with which exit code
//! it ends the process, and what the user can do.
//!
//! Every code has a page `docs/errors/<CODE>.md`. Codes are never reused.

use crate::error::{
    ErrorKind::{self, *},
    Side::{Source, Target},
};

/// Whether doing the same again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Yes, after a pause, without anybody's help.
    Backoff,
    /// Yes, once somebody has changed something.
    Manual,
    /// No.
    Never,
}

/// The exit code of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 1: the work failed.
    Failed = 1,
    /// 2: the command line cannot be used.
    Usage = 2,
    /// 3: refused before anything was written.
    Refused = 3,
}

/// What an error kind means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The stable code, for example `SRC-0002`.
    pub code: &'static str,
    /// Whether it is retried.
    pub retry: Retry,
    /// How the process ends.
    pub exit: Exit,
    /// What the user can do.
    pub remedy: &'static str,
}

const fn row(code: &'static str, retry: Retry, exit: Exit, remedy: &'static str) -> Policy {
    Policy { code, retry, exit, remedy }
}

impl ErrorKind {
    /// What this kind means.
    #[rustfmt::skip]
    pub fn policy(self) -> Policy {
        use Exit::{Failed, Refused, Usage};
        use Retry::{Backoff, Manual, Never};
        match self {
            BadUrl => row("CFG-0001", Manual, Usage, "write the URL as redis://[user:password@]host:port[/db], or rediss:// for TLS"),
            UnsupportedScheme => row("CFG-0002", Manual, Usage, "use redis:// or rediss:// with a standalone server or a primary with replicas"),
            SecretFile => row("CFG-0003", Manual, Usage, "check that the file exists and that this user may read it"),
            BadObjects => row("CFG-0008", Manual, Usage, "see the message: it says which rule is wrong, and what to write instead"),
            StateDir => row("CFG-0004", Manual, Failed, "choose a directory that this user may write with --state-dir"),
            TaskRunning => row("CFG-0005", Manual, Refused, "stop the other process, or give this one another name with --task"),
            SameInstance => row("CFG-0006", Manual, Refused, "check both URLs: source and target must be servers with separate data, not one server and not replica and primary"),
            DumpFile => row("CFG-0007", Manual, Usage, "check that the file exists, that this user may read it, and that the output has room"),
            ResultStore => row("CFG-0009", Manual, Failed, "check the file of --store: its directory has to exist and have room, this user has to be able to write there, and the file has to be one of keyferry compare, of the same version"),
            Precheck => row("CFG-0010", Manual, Refused, "remove the reason: `keyferry check` with the same URLs shows each item with its remedy; or leave the item out with --skip"),
            Internal => row("CFG-0099", Never, Failed, "this is a defect of Keyferry: please report it with the log"),

            NotRunning => row("CTL-0001", Manual, Failed, "check the name of the task and --state-dir, on the machine on which keyferry sync runs; start the task when it does not run"),
            Control => row("CTL-0002", Manual, Failed, "check that this user may use the socket of the task, that both ends are the same version of Keyferry, and the log of the task"),
            CutoverRefused => row("CTL-0003", Manual, Failed, "nothing was changed: remove the reason, wait until the task is in step (keyferry status), and cut over again"),
            CutoverUndone => row("CTL-0004", Manual, Failed, "the writers go on at the source and the task follows it: remove the reason and cut over again, with a longer --timeout or --source-pause where time was short"),
            CutoverUnknown => row("CTL-0005", Manual, Failed, "the target did not say whether the last step was done: look at the log of the task before anybody writes to the target"),

            NoHistory => row("RPT-0001", Manual, Failed, "check the name of the task and --state-dir; without --task, keyferry sync makes the name of both addresses and says it in its log"),
            ReportFile => row("RPT-0002", Manual, Failed, "check that the file or directory exists, that this user may use it, that its disk has room, and that --html names no file of the JSON"),
            ReportKey => row("RPT-0003", Manual, Usage, "use Ed25519 keys as PEM files without a password: openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out public.pem"),
            ReportAltered => row("RPT-0004", Never, Failed, "do not rely on this report: ask who has made it for the file as it was written, and for the public key"),

            Resolve(Source) => row("SRC-0001", Backoff, Failed, "check the host name in the source URL and the name service of this machine"),
            Connect(Source) => row("SRC-0002", Backoff, Failed, "check that the source runs, listens on this address and port, and that a firewall or protected-mode does not refuse this machine"),
            Tls(Source) => row("SRC-0003", Manual, Failed, "check that the port speaks TLS (rediss://) and that its certificate is signed by a known CA (--source-tls-ca) for this host name"),
            Auth(Source) => row("SRC-0004", Manual, Failed, "check user and password of the source (KEYFERRY_SOURCE_PASSWORD, --source-password-file or the URL)"),
            Protocol(Source) => row("SRC-0005", Manual, Failed, "check that the port belongs to a Redis-compatible server, and use rediss:// when it speaks TLS"),
            Loading(Source) => row("SRC-0006", Backoff, Failed, "wait until the source has loaded its data (INFO persistence: loading:0), or allow a longer --retry-window"),
            Permission(Source) => row("SRC-0007", Manual, Failed, "allow the source user: ACL SETUSER <user> +psync +replconf +ping +info"),
            Timeout(Source) => row("SRC-0008", Backoff, Failed, "check the network to the source and whether it is blocked by a slow command"),
            Lost(Source) => row("SRC-0009", Backoff, Failed, "check the log of the source for why it closed the link (client-output-buffer-limit replica, restart), then start again; a port that closes at the first command may want TLS (rediss://)"),
            Cluster(Source) => row("SRC-0010", Never, Refused, "the source is a cluster node and holds only a part of the data; clusters are not supported yet"),
            TooOld(Source) => row("SRC-0011", Never, Refused, "the source must be Redis 2.8 or newer, or any Valkey"),
            NoMasterLink => row("SRC-0012", Backoff, Failed, "the source is a replica without a link to its primary: repair that link, or use its primary as the source"),
            PsyncRefused => row("SRC-0013", Manual, Failed, "the source does not allow PSYNC: a managed service may hide or rename it; ask its operator for replication access"),
            BacklogLost => row("SRC-0014", Manual, Failed, "the link was down for longer than the source's backlog lasts: raise repl-backlog-size on the source and copy everything again (--on-lost-backlog full; --restart --on-conflict clear where the target held keys of its own)"),
            OutsideObjects => row("SRC-0015", Manual, Failed, "a command goes between what is chosen and what is not: choose both, or neither"),

            RdbCorrupt => row("RDB-0001", Manual, Failed, "the snapshot is damaged: check memory and disk of the server that wrote it, or the copy of the file, and take it again"),
            RdbUnknownType => row("RDB-0002", Never, Failed, "the source holds a value of a type that Keyferry does not know (a module, or a newer server): remove that key or use a newer Keyferry"),
            RdbVersion => row("RDB-0003", Never, Failed, "the source is newer than this Keyferry: use a newer Keyferry"),
            RdbTooLarge => row("RDB-0004", Never, Failed, "one element of a value is larger than what is held in memory (512 MiB; for keyferry rdb json a value that takes more than --max-value): split it or remove it on the source, or raise the limit"),

            SpoolDisk => row("SPL-0001", Manual, Failed, "check the disk of the state directory (dmesg, mount options, rights), or choose another one with --state-dir, then start again"),
            SpoolCorrupt => row("SPL-0002", Manual, Failed, "a file of the spool is damaged: check the disk, remove the spool's directory and start the task again: it goes on from the source where that is possible"),
            SpoolVersion => row("SPL-0003", Never, Failed, "another version of Keyferry wrote this spool: go on with that version, or remove the spool's directory and start the task again: it goes on from the source where that is possible"),
            SpoolDropped => row("SPL-0004", Manual, Failed, "the target has fallen back further than the spool keeps, and everything has to be copied again: start the task again"),

            Resolve(Target) => row("TGT-0001", Backoff, Failed, "check the host name in the target URL and the name service of this machine"),
            Connect(Target) => row("TGT-0002", Backoff, Failed, "check that the target runs, listens on this address and port, and that a firewall or protected-mode does not refuse this machine"),
            Tls(Target) => row("TGT-0003", Manual, Failed, "check that the port speaks TLS (rediss://) and that its certificate is signed by a known CA (--target-tls-ca) for this host name"),
            Auth(Target) => row("TGT-0004", Manual, Failed, "check user and password of the target (KEYFERRY_TARGET_PASSWORD, --target-password-file or the URL)"),
            Protocol(Target) => row("TGT-0005", Manual, Failed, "check that the port belongs to a Redis-compatible server, and use rediss:// when it speaks TLS"),
            Loading(Target) => row("TGT-0006", Backoff, Failed, "wait until the target has loaded its data (INFO persistence: loading:0), or allow a longer --retry-window"),
            Permission(Target) => row("TGT-0007", Manual, Failed, "give the target user all commands and keys: ACL SETUSER <user> ~* &* +@all"),
            Timeout(Target) => row("TGT-0008", Backoff, Failed, "check the network to the target and whether it is blocked by a slow command"),
            Lost(Target) => row("TGT-0009", Backoff, Failed, "check the log of the target for why it closed the connection; the same task goes on when it is started again"),
            Cluster(Target) => row("TGT-0010", Never, Refused, "the target is a cluster node; clusters are not supported yet"),
            TooOld(Target) => row("TGT-0011", Never, Refused, "the target must be Redis 3.0 or newer, or any Valkey"),
            NotEmpty => row("TGT-0012", Manual, Refused, "choose what happens to the keys on the target with --on-conflict: ignore keeps them, replace overwrites those that the source has too, clear empties the target first"),
            TargetReplica => row("TGT-0013", Manual, Refused, "the target is a replica: use its primary as the target, or promote it with REPLICAOF NO ONE"),
            KeyExists => row("TGT-0014", Manual, Failed, "somebody else writes to the target: stop them, then begin anew with --restart and --on-conflict clear, replace or ignore"),
            TargetFull => row("TGT-0015", Backoff, Failed, "raise maxmemory of the target: it is tried again, and the same task goes on when it is started again"),
            TargetDemoted => row("TGT-0020", Backoff, Failed, "the target was made a replica while it was written to: it is tried again at the same address; otherwise start the same task (--task) with the new primary as the target"),
            DeadlineMissed => row("TGT-0021", Manual, Failed, "the target no longer has a key, or a field, whose deadline the source has moved: the delay was longer than --ttl-grace, or it evicts keys; raise the grace above the delay or set maxmemory-policy noeviction, then begin anew with --restart --on-conflict clear"),
            TargetMisconf => row("TGT-0016", Backoff, Failed, "the target refuses writes, since it cannot write its snapshot (MISCONF) or lacks replicas (NOREPLICAS): check its log; it is tried again"),
            UnsupportedByTarget => row("TGT-0017", Never, Failed, "the target's version cannot hold this kind of data: use a newer target, or leave such data out with --on-unsupported drop, or keep what can be kept with --on-unsupported degrade"),
            CommandRefused => row("TGT-0018", Never, Failed, "the target answered a replicated command with an error, so both sides differ: check that nobody else writes to the target, then begin anew with --restart --on-conflict clear"),
            Checkpoint => row("TGT-0022", Manual, Refused, "the position that the target keeps for this task is damaged or of another version of Keyferry: use that version, or begin anew with --restart"),
            CheckpointChanged => row("TGT-0023", Backoff, Failed, "the target lost the position of this task, by a fail-over, a restart or a FLUSHALL of somebody else: it is read again"),
            TakenOver => row("TGT-0024", Never, Failed, "another process runs this task now: let it, or stop it and start this one again"),
            Broken => row("TGT-0025", Manual, Refused, "the target refused a command when this task ran last, so both sides differ: remove the reason and begin anew with --restart --on-conflict clear"),
            RepairRefused => row("TGT-0026", Manual, Refused, "a sync task writes to the target, or can be gone on with: start it on this machine (--task, --state-dir), and the repair goes through it while it follows the source; or let it end (--stop-when-synced), then repair; or compare without --repair. Where a side was started again meanwhile: look at what it has, and compare again"),
            TargetChanged => row("TGT-0027", Backoff, Failed, "an older version answers at the address of the target than before: the task begins again where it was, by itself"),
            NoSuchDatabase => row("TGT-0019", Manual, Failed, "raise `databases` in the target's configuration to that of the source, or choose databases that it has, such as --db 3:0"),
        }
    }
}
