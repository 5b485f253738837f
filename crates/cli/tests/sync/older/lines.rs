//! Commands that came with newer versions, as clients type them.

/// What every source from 6.2 on knows, and no target before it.
pub(super) const SINCE_6_2: &str = "
RPUSH l:a 1 2 3 4 5 6 7 8
LPOP l:a 2
RPOP l:a 3
RPUSH l:b 1 2 3
LPOP l:b 10
RPUSH l:c 1 2 3 4
LMOVE l:c l:d RIGHT LEFT
LMOVE l:c l:d LEFT RIGHT
LMOVE l:c l:d LEFT LEFT
LMOVE l:c l:d RIGHT RIGHT
RPUSH l:e 1 2 3
LMOVE l:e l:e LEFT RIGHT
RPUSH l:f 1
PEXPIREAT l:f 4000000000000
LMOVE l:f l:f LEFT RIGHT
RPUSH l:g a
LPUSHX l:g b c
RPUSHX l:g d e f
BITFIELD b:a SET u8 0 255 INCRBY i5 100 1 GET u4 0 SET i64 #3 -9223372036854775808 INCRBY i64 #3 -1
BITFIELD b:b OVERFLOW SAT INCRBY u8 0 200 INCRBY u8 0 100 INCRBY u4 8 -3 INCRBY i8 16 127 INCRBY i8 16 5
BITFIELD b:b INCRBY i8 #3 -128 INCRBY i8 #3 -128 OVERFLOW SAT INCRBY i7 40 -64 INCRBY i7 40 -5 SET u5 50 -1 SET i5 60 99
BITFIELD b:c OVERFLOW FAIL SET u4 0 9 INCRBY u4 0 9 SET u4 100 99 OVERFLOW WRAP SET i4 8 99 INCRBY u63 70 -1
BITFIELD b:d SET u8 #1 5 INCRBY u8 #1 5 INCRBY i16 3 9223372036854775807
ZADD z:a 1 a 2 b 3 c 4 d 5 e 6 f 6 g
ZPOPMIN z:a
ZPOPMIN z:a 2
ZPOPMAX z:a
ZADD z:b 1 a 2 b
ZPOPMAX z:b 5
ZADD z:c 1 a 2 b 3 c inf d -inf e 0.1 f
ZADD z:c GT CH 5 a 1 b 7 new
ZADD z:c LT 1.5 c 9 f
ZADD z:c XX GT INCR 2.25 a
ZADD z:c NX 9 a 9 x
ZADD z:c XX 4 x 4 y
ZADD z:c INCR 0.1 x
ZADD z:c LT INCR -1 lower
ZRANGESTORE z:d z:c 0 -1
ZRANGESTORE z:e z:c (1 7 BYSCORE LIMIT 0 2
ZRANGESTORE z:f z:c 5 1 BYSCORE REV
ZRANGESTORE z:g z:c 1 2 REV
ZADD z:lex 0 a 0 b 0 c
ZRANGESTORE z:h z:lex [a (c BYLEX
ZRANGESTORE z:i z:lex + [b BYLEX REV
ZRANGESTORE z:lex z:lex 0 0
ZADD z:gone 1 a
ZRANGESTORE z:gone z:c 100 200
SADD s:a a b
ZDIFFSTORE z:j 2 z:c s:a
ZDIFFSTORE z:k 2 s:a z:lex
ZDIFFSTORE z:c 2 z:c z:lex
SET k:a value PXAT 4000000000000
SET k:a longer-value KEEPTTL
SET k:a short KEEPTTL
SET k:b 1
INCRBYFLOAT k:b 1.5
SET k:c 10 PXAT 4000000000000
INCRBYFLOAT k:c 0.25
SET k:d v NX
GETEX k:d PXAT 4000000000000
SET k:e v
GETDEL k:e
COPY k:a k:f
COPY k:a k:g DB 5
SET k:a other
COPY k:a k:g DB 5 REPLACE
COPY z:a z:l
COPY l:a z:l REPLACE
HSET h:a a 1 b 2 c 3
HSET h:a d 4
HINCRBYFLOAT h:a a 0.5
SADD s:b 1 2 3 4
SPOP s:b 2
SET u:a v
SET u:b v
UNLINK u:a u:b
GEOADD g:a 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEOADD g:a XX CH 13.5 38.1 Palermo
SPOP s:a 2";

/// Likewise, for targets with places.
pub(super) const PLACES_SINCE_6_2: &str = "
GEOSEARCHSTORE g:b g:a FROMLONLAT 15 37 BYRADIUS 200 km ASC COUNT 1
GEOSEARCHSTORE g:c g:a FROMMEMBER Palermo BYRADIUS 300 km STOREDIST
ZADD g:d 1 a
GEOSEARCHSTORE g:d g:none FROMLONLAT 15 37 BYRADIUS 200 km";

/// Likewise, for targets with streams.
pub(super) const STREAMS_SINCE_6_2: &str = "
XADD x:a 1-1 f v
XADD x:a NOMKSTREAM 2-1 f v
XADD x:a NOMKSTREAM MAXLEN ~ 100 LIMIT 10 3-1 f v
XADD x:b 1-1 f v
XADD x:b 1-2 f v
XADD x:b 2-1 f v
XADD x:b MINID = 1-2 3-1 f v
XADD x:b MINID 2 4-1 f v
XADD x:c 1-1 f v
XADD x:c 2-1 f v
XADD x:c 3-1 f v
XTRIM x:c MINID 3
XTRIM x:c MAXLEN ~ 0 LIMIT 100
XGROUP CREATE x:a g 0
XGROUP CREATECONSUMER x:a g idle
XREADGROUP GROUP g c COUNT 2 STREAMS x:a >
XADD x:d 1-1 f v
XADD x:d 2-1 f v
XGROUP CREATE x:d g 0
XREADGROUP GROUP g c STREAMS x:d >
XDEL x:d 1-1
XCLAIM x:d g d 0 2-1
XADD x:e 1-1 f v
XGROUP CREATE x:e g $
COPY x:a x:f";

/// What sources from 7.0 on know.
pub(super) const SINCE_7_0: &str = "
RPUSH m:a 1 2 3 4
LMPOP 1 m:a RIGHT COUNT 3
ZADD m:b 1 a 2 b 3 c
ZMPOP 1 m:b MAX COUNT 2
SET m:c v
SET m:c w NX GET
SPUBLISH channel message";

pub(super) const STREAMS_SINCE_7_0: &str = "
XAUTOCLAIM x:d g e 0 0
XGROUP CREATE x:a h 0 ENTRIESREAD 0
XGROUP SETID x:a g 2-1 ENTRIESREAD 2
XSETID x:e 9-9 ENTRIESADDED 10 MAXDELETEDID 4-1";

/// Fields with deadlines, and those that do not need them.
pub(super) const FIELDS_SINCE_8_0: &str = "
HSET f:a a 1 b 2 c 3 d 4
HGETDEL f:a FIELDS 2 a none
HSETEX f:a FNX FIELDS 1 e 5
HSETEX f:a FXX FIELDS 2 e 6 b 7
HSETEX f:b KEEPTTL FIELDS 1 a 1";

pub(super) const FIELD_DEADLINES_SINCE_8_0: &str = "
HSETEX f:c PXAT 4000000000000 FIELDS 2 a 1 b 2
HSETEX f:c KEEPTTL FIELDS 2 a 3 c 4
HSETEX f:c FIELDS 1 b 5
HPEXPIREAT f:c 4000000000000 FIELDS 1 b
HPERSIST f:c FIELDS 1 b";

/// What Redis knows from 8.2 on, and no Valkey.
pub(super) const SINCE_8_2: &str = "
SETBIT o:a 3 1
SETBIT o:a 9 1
SETBIT o:b 3 1
SETBIT o:b 30 1
SETBIT o:c 9 1
SETBIT o:c 50 1
BITOP DIFF o:d o:a o:b o:none
BITOP DIFF1 o:e o:a o:b o:c
BITOP ANDOR o:f o:a o:b o:c
BITOP ONE o:g o:a o:b o:c
BITOP DIFF o:h o:c o:a
BITOP ONE o:a o:a o:b
BITOP diff o:b o:none o:none
XADD y:a 1-1 f v
XADD y:a 2-1 f v
XADD y:a 3-1 f v
XADD y:a 4-1 f v
XADD y:a 5-1 f v
XADD y:a 6-1 f v
XGROUP CREATE y:a g 0
XGROUP CREATE y:a h 0
XREADGROUP GROUP g c COUNT 5 STREAMS y:a >
XREADGROUP GROUP h c COUNT 3 STREAMS y:a >
XACK y:a h 1-1 2-1
XDELEX y:a KEEPREF IDS 1 6-1
XACKDEL y:a g ACKED IDS 2 1-1 4-1
XACKDEL y:a g KEEPREF IDS 2 2-1 99-1
XDELEX y:a ACKED IDS 2 3-1 4-1
XDELEX y:a DELREF IDS 1 3-1
XACKDEL y:a g DELREF IDS 1 5-1
XADD y:b 1-1 f v
XADD y:b 2-1 f v
XADD y:b 3-1 f v
XADD y:b 4-1 f v
XGROUP CREATE y:b g 0
XREADGROUP GROUP g c COUNT 4 STREAMS y:b >
XADD y:b DELREF MAXLEN = 4 5-1 f v
XADD y:b KEEPREF MAXLEN = 4 6-1 f v
XTRIM y:b MAXLEN 3 DELREF
XTRIM y:b MINID 5-1 DELREF
XADD y:c 1-1 f v
XADD y:c 2-1 f v
XADD y:c 3-1 f v
XGROUP CREATE y:c g 0
XREADGROUP GROUP g c COUNT 3 STREAMS y:c >
XACK y:c g 1-1 2-1
XTRIM y:c MAXLEN 0 ACKED
XADD y:c ACKED MAXLEN 1 4-1 f v
XADD y:d 1-1 f v
XADD y:d 2-1 f v
XADD y:d 3-1 f v
XADD y:d 4-1 f v
XADD y:d 5-1 f v
XADD y:d 6-1 f v
XGROUP CREATE y:d g 0
XREADGROUP GROUP g c COUNT 5 STREAMS y:d >
XDEL y:d 1-1
XACK y:d g 2-1 4-1
XTRIM y:d MINID 7-1 ACKED
XACK y:d g 3-1
XADD y:d ACKED MAXLEN 1 7-1 f v";

/// What Redis knows from 8.4 on.
pub(super) const SINCE_8_4: &str = "
SET c:a 1
SET c:a 2 IFEQ 1
SET c:a 3 IFNE 1
SET c:a 4 IFEQ 3 PXAT 4000000000000
SET c:a 5 IFDNE 0123456789abcdef
SET c:a 6 IFEQ nothing
MSETEX 2 c:b 1 c:c 2
MSETEX 2 c:b 3 c:c 4 XX PXAT 4000000000000
MSETEX 2 c:b 5 c:c 6 KEEPTTL
MSETEX 2 c:b 7 c:d 8 NX
SET c:e 1
DELEX c:e IFEQ 1
SET c:f 1
DELEX c:f";

/// Producers, from 8.6 on. What is added twice is added once.
pub(super) const SINCE_8_6: &str = "
XADD p:a IDMP producer one * f v
XADD p:a IDMP producer one * f v
XADD p:a IDMP producer two MAXLEN = 1 * f v
XADD p:a IDMP producer two MAXLEN = 0 * f v
XADD p:b IDMP producer one MAXLEN = 0 * f v
XADD p:b IDMP producer two * f v";

/// Those that no target can be told: their IDs follow from the fields.
pub(super) const UNNAMED_SINCE_8_6: &str = "
XADD p:c IDMPAUTO producer * f w
XADD p:c IDMPAUTO producer * f w";

/// What Valkey knows from 8.1 on.
pub(super) const VALKEY_SINCE_8_1: &str = "
SET c:a 1
SET c:a 2 IFEQ 1
SET c:a 3 IFEQ 2 GET";

pub(super) const VALKEY_SINCE_9_0: &str = "
SET d:a 1
DELIFEQ d:a 1
HSET f:a a 1 b 2
HSETEX f:a FXX FIELDS 1 a 3
HSETEX f:b FNX FIELDS 1 a 3";

pub(super) const VALKEY_SINCE_9_1: &str = "
HSET f:c a 1 b 2
HGETDEL f:c FIELDS 1 a
MSETEX 2 c:b 1 c:c 2
MSETEX 2 c:b 3 c:c 4 XX EX 100000";
