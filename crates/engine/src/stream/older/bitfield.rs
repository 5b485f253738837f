//! BITFIELD for targets that have single bits only.

use super::{Verdict, eval, is};

/// Bits in which values are written and added: what two numbers of 64 bits and their sum need, and some more.
const WIDTH: u32 = 72;

/// `KEYS`: the string. `ARGV`, six for each write: `S` to set or `I` to add, `i` or `u`, bits, where they begin, `WRAP`,
/// `SAT` or `FAIL`, and the value or increment in [`WIDTH`] bits, the highest first.
pub(super) const SCRIPT: &[u8] = b"local k=KEYS[1] local w=72 \
for o=1,#ARGV,6 do local sign,n,at,mode,v=ARGV[o+1],tonumber(ARGV[o+2]),tonumber(ARGV[o+3]),ARGV[o+4],ARGV[o+5] \
redis.call('SETBIT',k,at+n-1,redis.call('GETBIT',k,at+n-1)) \
local new={} for j=1,w do new[j]=tonumber(string.sub(v,j,j)) end \
if ARGV[o]=='I' then local old={} for j=1,n do old[j]=redis.call('GETBIT',k,at+j-1) end \
local fill,carry=sign=='i' and old[1] or 0,0 \
for j=w,1,-1 do local s=(old[j-w+n] or fill)+new[j]+carry new[j]=s%2 carry=s>1 and 1 or 0 end end \
local fits,top=true,sign=='i' and w-n+1 or w-n \
for j=1,top do if new[j]~=(sign=='i' and new[1] or 0) then fits=false end end \
if fits or mode~='FAIL' then for j=1,n do local bit=new[w-n+j] \
if not fits and mode=='SAT' then if sign=='u' then bit=1-new[1] elseif j==1 then bit=new[1] else bit=1-new[1] end end \
redis.call('SETBIT',k,at+j-1,bit) end end end return 1";

/// `BITFIELD key [GET type offset] [SET type offset value] [INCRBY type offset increment] [OVERFLOW WRAP|SAT|FAIL] ...`
pub(super) fn write(args: &[&[u8]], out: &mut Vec<u8>) -> Verdict {
    match args {
        [_, key, operations @ ..] => match writes(operations) {
            Some(writes) => {
                let all: Vec<&[u8]> = writes.iter().map(String::as_bytes).collect();
                eval(out, SCRIPT, &[key], &all)
            }
            None => Verdict::Known,
        },
        _ => Verdict::Known,
    }
}

/// What the script is told; `None` when something is not as it should be.
fn writes(mut rest: &[&[u8]]) -> Option<Vec<String>> {
    let (mut all, mut mode) = (Vec::new(), "WRAP");
    while let [word, behind @ ..] = rest {
        rest = match behind {
            [how, rest @ ..] if is(word, "OVERFLOW") => {
                mode = ["WRAP", "SAT", "FAIL"].into_iter().find(|mode| is(how, mode))?;
                rest
            }
            [_, _, rest @ ..] if is(word, "GET") => rest,
            [kind, offset, value, rest @ ..] if is(word, "SET") || is(word, "INCRBY") => {
                let text = |arg| std::str::from_utf8(arg).ok();
                let (sign, bits) = text(kind)?.split_at_checked(1)?;
                let (bits, sign): (u64, _) = (bits.parse().ok()?, sign.to_ascii_lowercase());
                let offset = text(offset)?;
                let at: u64 = match offset.strip_prefix('#') {
                    Some(n) => n.parse::<u64>().ok()?.checked_mul(bits)?,
                    None => offset.parse().ok()?,
                };
                let value: i64 = text(value)?.parse().ok()?;
                let sets = is(word, "SET");
                // What is set without a sign is taken as such.
                let wide = if sets && sign == "u" { i128::from(value as u64) } else { i128::from(value) };
                let value: String = (0..WIDTH).rev().map(|bit| if wide >> bit & 1 == 1 { '1' } else { '0' }).collect();
                let operation = if sets { "S" } else { "I" };
                all.extend([operation.into(), sign, bits.to_string(), at.to_string(), mode.into(), value]);
                rest
            }
            _ => return None,
        };
    }
    Some(all)
}
