//! Vector sets, a module that comes with Redis 8.
//!
//! A VADD of an element that is there already is not called: Redis 8.0 to 8.6 change its vector and replicate nothing, not
//! to their own replicas either (vset.c VADD_RedisCommand passes on what has been added).

use super::{Family, call::every};

pub(super) const VECTORS: Family = Family::new(
    "vectors",
    &[
        every("VADD vset:$a VALUES 3 1.0 0.5 -0.25 one"),
        every("VADD vset:$a FP32 {fp32} two"),
        every("VADD vset:$a VALUES 3 0.1 0.2 0.3 three CAS"),
        every("VADD vset:$a VALUES 3 0.3 0.2 0.1 four SETATTR '{\"year\": 1968}'"),
        every("VADD vset:$a VALUES 3 0.2 0.2 0.2 five EF 50"),
        every("VADD vset:$noquant VALUES 3 1.0 0.5 -0.25 one NOQUANT"),
        every("VADD vset:$noquant VALUES 3 0.1 0.9 -0.25 two NOQUANT"),
        every("VADD vset:$bin VALUES 3 1.0 0.5 -0.25 one BIN"),
        every("VADD vset:$q8 VALUES 3 1.0 0.5 -0.25 one Q8 M 8"),
        every("VADD vset:$reduced REDUCE 2 VALUES 3 1.0 0.5 -0.25 one"),
        every("VREM vset:$a three"),
        every("VSETATTR vset:$a one '{\"year\": 2001}'"),
        every("VSETATTR vset:$a four ''"),
        every("VADD vset:$gone VALUES 2 1 2 one"),
        every("VREM vset:$gone one"),
    ],
);
