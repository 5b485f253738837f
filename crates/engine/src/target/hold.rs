//! Deadlines of the snapshot while the stream is behind it.
//!
//! A key of the snapshot may be renewed by the stream, which is applied behind the whole snapshot, an hour later or more. A
//! target is a primary and would have dropped the key by then. So every deadline of the snapshot is first written
//! *held*: later by a fixed distance that nobody else writes. When the target has caught up, `settle.rs` takes the distance
//! off again, and adds the grace. The same is done with the deadlines of the stream, and those that the target has
//! already, while the target is far behind: see `holding.rs`.
//!
//! Invariants:
//! - A held deadline says by itself that it is held and what it really is. Nothing is kept beside it: it goes along when
//!   the stream renames, moves or copies the key, and a process that dies loses nothing.
//! - Who settles and who holds are told apart by the checkpoint on the target, in the same step: it says whether deadlines are
//!   being held. So a request that was given up, and is run later by the target, undoes nothing that came behind it.
//! - Only held deadlines are changed, each in one step with looking at it: one that the stream has set, renewed or removed
//!   meanwhile is left alone.
//! - A key whose time is over stays until the source says DEL, or until it is settled.

/// Distance of a held deadline of a key: 142,808 years in milliseconds. Below 2^53, so that scripts count exactly.
const KEY: u64 = 1 << 52;
/// A key that lives until the year 2527 is not held: it has time. Held ones are less than this above [`KEY`].
const KEY_BEFORE: u64 = 1 << 44;
/// Distance of a held deadline of a field: 1,115 years. Redis takes none from 2^46 on.
pub(crate) const FIELD: u64 = 1 << 45;
/// A field that lives until the year 2109 is not held. Held ones are less than this above [`FIELD`].
pub(crate) const FIELD_BEFORE: u64 = 1 << 42;

/// What stands in front of a script: `KEYS[1]` is the checkpoint, in database `ARGV[3]`; the keys are in `ARGV[4]`. Nothing is
/// done, and the second argument is answered, unless the checkpoint is that of `ARGV[1]`, epoch and holder, covers its batch
/// `ARGV[2]`, and says what the first argument is whether deadlines are being held. With an empty `ARGV[1]` it is not looked at.
macro_rules! behind_fence {
    ($holding:literal, $refused:literal, $script:literal) => {
        concat!(
            "if redis.replicate_commands then redis.replicate_commands() end \
            if ARGV[1]~='' then \
            redis.call('SELECT',ARGV[3]) local v,s=redis.call('HGET',KEYS[1],'v'),0 redis.call('SELECT',ARGV[4]) \
            if not v or string.sub(v,5,12)..string.sub(v,21,28)~=ARGV[1] \
            or math.floor(string.byte(v,29)/16)%2~=",
            $holding,
            " then return ",
            $refused,
            " end for i=20,13,-1 do s=s*256+string.byte(v,i) end if s<tonumber(ARGV[2]) then return ",
            $refused,
            " end end ",
            $script
        )
        .as_bytes()
    };
}

/// Settles the keys from `KEYS[2]` on with the grace `ARGV[5]`, and with `ARGV[6]` fields of hashes, of which it looks at no more
/// than `ARGV[7]` and those of one hash: a target does nothing else meanwhile. Answers how many deadlines were held, how many of
/// the keys were looked at, and which of them are hashes with more fields than that; or 0.
///
/// Before 7.0, PTTL may count as a command whose answer nobody can know, behind which a script may only write when its
/// writes are replicated one by one. A time to live counts from now, so a held one may be smaller than its distance by what
/// has gone since 1970: less than 2^41 ms. Where absolute times can be asked for (7.0), they are: between asking for what is
/// left and setting it again a busy machine may stop for a while.
pub(crate) const SETTLE_KEYS: &[u8] = behind_fence!(
    "0",
    "0",
    "local grace,most,n,seen,large=tonumber(ARGV[5]),tonumber(ARGV[7]),0,0,{} \
    local function ms(time) return string.format('%.0f',math.max(time+grace,1)) end \
    local exact=type(redis.pcall('PEXPIRETIME',KEYS[1]))=='number' \
    for i=2,#KEYS do local key=KEYS[i] \
    local left=redis.call('PTTL',key) \
    if left>=2^52-2^41 and left<2^52+2^44 then n=n+1 \
    if left<2^52 then redis.call('PEXPIRE',key,ms(0)) \
    elseif exact then redis.call('PEXPIREAT',key,ms(redis.call('PEXPIRETIME',key)-2^52)) \
    else redis.call('PEXPIRE',key,ms(left-2^52)) end end \
    if ARGV[6]=='1' and redis.call('TYPE',key).ok=='hash' then \
    local len=redis.call('HLEN',key) \
    if len>most then large[#large+1]=key else \
    local names=redis.call('HKEYS',key) \
    for j,left in ipairs(#names>0 and redis.call('HPTTL',key,'FIELDS',#names,unpack(names)) or {}) do \
    if left>=2^45-2^41 and left<2^45+2^42 then n=n+1 \
    if left<2^45 then redis.call('HPEXPIRE',key,ms(0),'FIELDS',1,names[j]) else \
    local at=redis.call('HPEXPIRETIME',key,'FIELDS',1,names[j])[1] \
    redis.call('HPEXPIREAT',key,ms(at-2^45),'FIELDS',1,names[j]) end end end \
    seen=seen+len if seen>most then return {n,i-1,large} end end end end \
    return {n,#KEYS-1,large}"
);

/// The same for the fields `ARGV[6]` and on of the hash `KEYS[2]`, when it still is one. Answers how many, or -1.
pub(crate) const SETTLE_FIELDS: &[u8] = behind_fence!(
    "0",
    "-1",
    "if redis.call('TYPE',KEYS[2]).ok~='hash' then return 1 end \
    local grace,n,names=tonumber(ARGV[5]),0,{} \
    for i=6,#ARGV do names[i-5]=ARGV[i] end \
    for i,left in ipairs(redis.call('HPTTL',KEYS[2],'FIELDS',#names,unpack(names))) do \
    if left>=2^45-2^41 and left<2^45+2^42 then n=n+1 \
    local at=math.max(left-2^45,0) \
    if at>0 then at=redis.call('HPEXPIRETIME',KEYS[2],'FIELDS',1,names[i])[1]-2^45 end \
    at=string.format('%.0f',math.max(at+grace,1)) \
    redis.call(left>2^45 and 'HPEXPIREAT' or 'HPEXPIRE',KEYS[2],at,'FIELDS',1,names[i]) end end \
    return n"
);

/// The inverse of [`SETTLE_KEYS`] for deadlines that have the grace: settled, they are again what they were. One of a key that
/// is over already is held like any other.
pub(crate) const HOLD_KEYS: &[u8] = behind_fence!(
    "1",
    "0",
    "local grace,most,n,seen,large=tonumber(ARGV[5]),tonumber(ARGV[7]),0,0,{} \
    local function ms(time) return string.format('%.0f',time-grace) end \
    local exact=type(redis.pcall('PEXPIRETIME',KEYS[1]))=='number' \
    for i=2,#KEYS do local key=KEYS[i] \
    local left=redis.call('PTTL',key) \
    if left>=0 and left-grace<2^44-2^41 then n=n+1 \
    if exact then redis.call('PEXPIREAT',key,ms(redis.call('PEXPIRETIME',key)+2^52)) \
    else redis.call('PEXPIRE',key,ms(left+2^52)) end end \
    if ARGV[6]=='1' and redis.call('TYPE',key).ok=='hash' then \
    local len=redis.call('HLEN',key) \
    if len>most then large[#large+1]=key else \
    local names=redis.call('HKEYS',key) \
    for j,at in ipairs(#names>0 and redis.call('HPEXPIRETIME',key,'FIELDS',#names,unpack(names)) or {}) do \
    if at>0 and at-grace<2^42 then n=n+1 \
    redis.call('HPEXPIREAT',key,ms(at+2^45),'FIELDS',1,names[j]) end end \
    seen=seen+len if seen>most then return {n,i-1,large} end end end end \
    return {n,#KEYS-1,large}"
);

/// The inverse of [`SETTLE_FIELDS`].
pub(crate) const HOLD_FIELDS: &[u8] = behind_fence!(
    "1",
    "-1",
    "if redis.call('TYPE',KEYS[2]).ok~='hash' then return 0 end \
    local grace,n,names=tonumber(ARGV[5]),0,{} \
    for i=6,#ARGV do names[i-5]=ARGV[i] end \
    for i,at in ipairs(redis.call('HPEXPIRETIME',KEYS[2],'FIELDS',#names,unpack(names))) do \
    if at>0 and at-grace<2^42 then n=n+1 \
    redis.call('HPEXPIREAT',KEYS[2],string.format('%.0f',at-grace+2^45),'FIELDS',1,names[i]) end end \
    return n"
);

/// [`SETTLE_KEYS`] for `key`, whatever the checkpoint says: within a batch, which has a fence of its own.
pub(crate) fn settle_at_once<'a>(
    checkpoint: &'a [u8],
    key: &'a [u8],
    grace_ms: &'a [u8],
    fields: &'a [u8],
) -> [&'a [u8]; 12] {
    [b"EVAL", SETTLE_KEYS, b"2", checkpoint, key, b"", b"0", b"0", b"0", grace_ms, fields, super::walk::FIELDS]
}

/// The held form of a key's deadline. One that reads as held already has come from a target that was never settled, and is
/// settled here.
pub(crate) fn held(at: u64) -> u64 {
    if at < KEY_BEFORE { at + KEY } else { at }
}

/// The held form of a field's deadline.
pub(crate) fn held_field(at: u64) -> u64 {
    if at < FIELD_BEFORE { at + FIELD } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_where_the_scripts_look_for_them() {
        for script in [SETTLE_KEYS, SETTLE_FIELDS] {
            let script = std::str::from_utf8(script).unwrap();
            assert!(script.contains("left>=2^45-2^41 and left<2^45+2^42"), "{script}");
        }
        for script in [HOLD_KEYS, HOLD_FIELDS] {
            let script = std::str::from_utf8(script).unwrap();
            assert!(script.contains("at>0 and at-grace<2^42") && script.contains("2^45"), "{script}");
        }
        assert!(std::str::from_utf8(HOLD_KEYS).unwrap().contains("left>=0 and left-grace<2^44-2^41"));
        assert!(std::str::from_utf8(SETTLE_KEYS).unwrap().contains("left>=2^52-2^41 and left<2^52+2^44"));
        assert_eq!((KEY, KEY_BEFORE, FIELD, FIELD_BEFORE), (1 << 52, 1 << 44, 1 << 45, 1 << 42));
        // Up to the year 2039 a deadline of 1970, held, is still taken for one.
        assert!(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() < 1 << 41);
    }

    #[test]
    fn what_lives_long_is_not_held() {
        assert_eq!(held(5), KEY + 5);
        assert_eq!(held(KEY_BEFORE), KEY_BEFORE);
        assert_eq!(held(u64::MAX), u64::MAX);
    }
}
