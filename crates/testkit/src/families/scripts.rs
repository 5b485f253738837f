//! Functions, scripts and messages.

use super::{Family, call::every};

pub(super) const SCRIPTS: Family = Family::new(
    "scripts",
    &[
        every("EVAL 'return redis.call(\"SET\", KEYS[1], ARGV[1])' 1 script:$a one"),
        every(
            "EVAL 'redis.call(\"RPUSH\", KEYS[1], \"a\", \"b\") return redis.call(\"INCR\", KEYS[2])' 2 script:$b script:$c",
        ),
        every("EVAL 'return 1' 0").idle(),
        every("EVALSHA {sha} 1 script:$d one"),
        every("EVALSHA {sha} 1 script:$e one"),
        every("SCRIPT LOAD 'return 2'").idle(),
        every("PUBLISH channel:$ message").idle(),
        every("SPUBLISH channel:$ message").idle(),
    ],
);

pub(super) const FUNCTIONS: Family = Family::server_wide(
    "functions",
    &[
        every("FUNCTION LOAD {library:$a}"),
        every("FUNCTION LOAD REPLACE {library:$a}"),
        every("FUNCTION LOAD {library:$b}"),
        every("FCALL $a 1 function:$a one"),
        every("FCALL $b 1 function:$b two"),
        every("FUNCTION RESTORE {functions} REPLACE"),
        every("FUNCTION FLUSH"),
        every("FUNCTION RESTORE {functions}"),
        every("FUNCTION FLUSH ASYNC"),
        every("FUNCTION RESTORE {functions} APPEND"),
        every("FUNCTION FLUSH SYNC"),
        every("FUNCTION RESTORE {functions} FLUSH"),
        every("FCALL $b 1 function:$b three"),
        every("FUNCTION DELETE $b"),
        every("SCRIPT FLUSH").idle(),
    ],
);
