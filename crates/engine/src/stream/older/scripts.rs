//! Scripts that do on an older target what one command does on the source.
//!
//! They run on Redis 3.0, choose nothing by chance, and take times only where the server passes on their effects.

/// `KEYS`: source, destination. `ARGV`: database or empty, `1` to replace.
///
/// A source that is missing here has been left out; then the destination is what has been left out.
pub(super) const COPY: &[u8] = b"local both=redis.replicate_commands and redis.replicate_commands() \
local function now() local t=redis.call('TIME') return t[1]*1000+math.floor(t[2]/1000) end \
local value=redis.call('DUMP',KEYS[1]) local left=redis.call('PTTL',KEYS[1]) local at \
if left>=0 and both then repeat local before=now() left=redis.call('PTTL',KEYS[1]) at=before+left until before==now() end \
if ARGV[1]~='' then redis.call('SELECT',ARGV[1]) end \
if ARGV[2]=='1' then redis.call('DEL',KEYS[2]) elseif redis.call('EXISTS',KEYS[2])==1 then return 0 end \
if not value then return 0 end \
if left<0 then left=0 elseif left==0 then left=1 end \
redis.call('RESTORE',KEYS[2],left,value) \
if at then redis.call('PEXPIREAT',KEYS[2],string.format('%.0f',at)) end return 1";

/// `KEYS`: the key. `ARGV`: the value. Where it can, it writes over the old value, which leaves the deadline alone.
pub(super) const SET_KEEPTTL: &[u8] = b"local both=redis.replicate_commands and redis.replicate_commands() \
local function now() local t=redis.call('TIME') return t[1]*1000+math.floor(t[2]/1000) end \
local left=redis.call('PTTL',KEYS[1]) \
if left<0 then return redis.call('SET',KEYS[1],ARGV[1]) end \
if redis.call('TYPE',KEYS[1]).ok=='string' and redis.call('STRLEN',KEYS[1])<=#ARGV[1] then \
return redis.call('SETRANGE',KEYS[1],0,ARGV[1]) end \
local at if both then repeat local before=now() left=redis.call('PTTL',KEYS[1]) at=before+left until before==now() end \
redis.call('SET',KEYS[1],ARGV[1]) \
if at then return redis.call('PEXPIREAT',KEYS[1],string.format('%.0f',at)) end \
return redis.call('PEXPIRE',KEYS[1],math.max(left,1))";

/// `KEYS`: source, destination. `ARGV`: `LEFT` or `RIGHT`, twice. Pushed first, so that a list of one element that is
/// moved within itself keeps its deadline.
pub(super) const LMOVE: &[u8] = b"local v=redis.call('LINDEX',KEYS[1],ARGV[1]=='LEFT' and 0 or -1) \
if v then redis.call(ARGV[2]=='LEFT' and 'LPUSH' or 'RPUSH',KEYS[2],v) \
redis.call(ARGV[1]=='LEFT' and 'LPOP' or 'RPOP',KEYS[1]) end return v";

/// `KEYS`: source, destination; for a source that may have been left out.
pub(super) const RENAME: &[u8] =
    b"if redis.call('EXISTS',KEYS[1])==1 then return redis.call('RENAME',KEYS[1],KEYS[2]) end \
return redis.call('DEL',KEYS[2])";

/// `KEYS`: source, destination; for a source that may have been left out.
pub(super) const RENAMENX: &[u8] = b"if redis.call('EXISTS',KEYS[1])==1 then \
return redis.call('RENAMENX',KEYS[1],KEYS[2]) end return 0";

/// `KEYS`: a prefix that no key has. `ARGV`: the two databases. Every key keeps its deadline.
pub(super) const SWAPDB: &[u8] = b"local function all(db) redis.call('SELECT',db) return redis.call('KEYS','*') end \
local a,b=all(ARGV[1]),all(ARGV[2]) redis.call('SELECT',ARGV[1]) \
for _,k in ipairs(a) do redis.call('RENAME',k,KEYS[1]..k) redis.call('MOVE',KEYS[1]..k,ARGV[2]) end \
redis.call('SELECT',ARGV[2]) \
for _,k in ipairs(b) do redis.call('MOVE',k,ARGV[1]) end \
for _,k in ipairs(a) do redis.call('RENAME',KEYS[1]..k,k) end return 1";

/// `KEYS`: the sorted set. `ARGV`: of `N`, `X`, `G`, `L` and `I` those that are asked for, then scores and members.
pub(super) const ZADD: &[u8] = b"local k=KEYS[1] \
local function has(c) return string.find(ARGV[1],c,1,true)~=nil end \
for i=2,#ARGV,2 do local old=redis.call('ZSCORE',k,ARGV[i+1]) local go=true \
if old then local was,new=tonumber(old),tonumber(ARGV[i]) if has('I') then new=was+new end \
if has('N') or has('G') and new<=was or has('L') and new>=was then go=false end \
elseif has('X') then go=false end \
if go then redis.call(has('I') and 'ZINCRBY' or 'ZADD',k,ARGV[i],ARGV[i+1]) end end return 1";

/// `KEYS`: destination, source. `ARGV`: the command that names the members, and its arguments behind the key.
pub(super) const ZRANGESTORE: &[u8] = b"local found={} \
for _,m in ipairs(redis.call(ARGV[1],KEYS[2],unpack(ARGV,2))) do \
found[#found+1]=redis.call('ZSCORE',KEYS[2],m) found[#found+1]=m end \
redis.call('DEL',KEYS[1]) \
for i=1,#found,100 do redis.call('ZADD',KEYS[1],unpack(found,i,math.min(i+99,#found))) end return #found/2";

/// `KEYS`: destination, the set to take from, those to take away; each a sorted set or a set.
pub(super) const ZDIFFSTORE: &[u8] = b"local found={} \
local function sorted(k) return redis.call('TYPE',k).ok=='zset' end \
local function there(k,m) if sorted(k) then return redis.call('ZSCORE',k,m) end return redis.call('SISMEMBER',k,m)==1 end \
local from=redis.call('TYPE',KEYS[2]).ok \
local members=from=='zset' and redis.call('ZRANGE',KEYS[2],0,-1) or from=='set' and redis.call('SMEMBERS',KEYS[2]) or {} \
for _,m in ipairs(members) do local stays=true \
for i=3,#KEYS do if there(KEYS[i],m) then stays=false break end end \
if stays then found[#found+1]=from=='zset' and redis.call('ZSCORE',KEYS[2],m) or '1' found[#found+1]=m end end \
redis.call('DEL',KEYS[1]) \
for i=1,#found,100 do redis.call('ZADD',KEYS[1],unpack(found,i,math.min(i+99,#found))) end return #found/2";

/// `KEYS`: destination, source. `ARGV`: GEORADIUS or GEORADIUSBYMEMBER and its arguments behind the key.
pub(super) const GEORADIUS: &[u8] = b"if redis.call('EXISTS',KEYS[2])==0 then return redis.call('DEL',KEYS[1]) end \
return redis.call(ARGV[1],KEYS[2],unpack(ARGV,2))";

/// `KEYS`: three of ours, destination, sources. `ARGV`: the operator.
pub(super) const BITOP: &[u8] = b"local a,b,c,to,x=KEYS[1],KEYS[2],KEYS[3],KEYS[4],KEYS[5] \
redis.call('DEL',a,b,c) local n \
if ARGV[1]=='ONE' then for i=5,#KEYS do redis.call('BITOP','AND',c,a,KEYS[i]) \
redis.call('BITOP','OR',b,b,c) redis.call('BITOP','OR',a,a,KEYS[i]) end n=redis.call('BITOP','XOR',to,a,b) \
else redis.call('BITOP','OR',a,unpack(KEYS,6)) redis.call('BITOP','AND',b,x,a) \
if ARGV[1]=='DIFF' then n=redis.call('BITOP','XOR',to,x,b) \
elseif ARGV[1]=='DIFF1' then n=redis.call('BITOP','XOR',to,a,b) \
else n=redis.call('BITOP','AND',to,x,a) end end \
redis.call('DEL',a,b,c) return n";

/// `KEYS`: the hash. `ARGV`: number of fields, the fields, then fields and values. For targets with deadlines of fields.
pub(super) const HSET_KEEPTTL: &[u8] = b"local n=tonumber(ARGV[1]) \
local at=redis.call('HPEXPIRETIME',KEYS[1],'FIELDS',n,unpack(ARGV,2,n+1)) \
redis.call('HSET',KEYS[1],unpack(ARGV,n+2)) \
for i=1,n do local t=at and at[i] if t and t>0 then \
redis.call('HPEXPIREAT',KEYS[1],string.format('%.0f',t),'FIELDS',1,ARGV[i+1]) end end return 1";

/// `KEYS`: the stream. `ARGV`: the arguments of XCLAIM behind the key, for one entry. What is gone is let go of, as
/// servers from 7.0 on do.
pub(super) const XCLAIM: &[u8] = b"redis.call('XCLAIM',KEYS[1],unpack(ARGV)) \
if #redis.call('XRANGE',KEYS[1],ARGV[4],ARGV[4])==0 then redis.call('XACK',KEYS[1],ARGV[1],ARGV[4]) end return 1";

/// What groups have of an entry. `k` is the stream.
const GROUPS: &str = "local k=KEYS[1] local groups={} \
if redis.call('EXISTS',k)==1 then for _,g in ipairs(redis.call('XINFO','GROUPS',k)) do local t={} \
for i=1,#g,2 do t[g[i]]=g[i+1] end groups[#groups+1]=t end end \
local function less(p,q) p=string.gsub(p,'^0+(%d)','%1') q=string.gsub(q,'^0+(%d)','%1') \
if #p~=#q then return #p<#q end return p<q end \
local function before(x,y) local a,b=string.match(x,'^(%d+)%-(%d+)$') local c,d=string.match(y,'^(%d+)%-(%d+)$') \
a=a or x b=b or '0' c=c or y d=d or '0' if less(a,c) then return true end return not less(c,a) and less(b,d) end \
local function held(id) for _,g in ipairs(groups) do \
if before(g['last-delivered-id'],id) or #redis.call('XPENDING',k,g.name,id,id,1)>0 then return true end end return false end \
local function release(id) for _,g in ipairs(groups) do redis.call('XACK',k,g.name,id) end end ";

/// `KEYS`: the stream. `ARGV`: `KEEPREF`, `DELREF` or `ACKED`; `1` and the group when entries are acknowledged in it, and
/// only those that were pending are deleted; then the IDs.
const DELETE: &str = "for i=4,#ARGV do local id=ARGV[i] \
if ARGV[2]~='1' or redis.call('XACK',k,ARGV[3],id)==1 then \
if ARGV[1]~='ACKED' or not held(id) then redis.call('XDEL',k,id) end \
if ARGV[1]=='DELREF' then release(id) end end end return 1";

/// `KEYS`: the stream. `ARGV`: `KEEPREF`, `DELREF` or `ACKED`; `MAXLEN` or `MINID`; its threshold; for `MINID` the last ID in
/// front of it, and `1` when the target knows it.
///
/// A trim leaves the highest deleted ID alone, which XDEL moves. So entries are trimmed as far as they can be, and for
/// the others that ID is put back; only 0 cannot be.
const TRIM: &str = "local mode,how=ARGV[1],ARGV[2] local most,info \
if how=='MAXLEN' then most=redis.call('XLEN',k)-ARGV[3] end \
if mode=='ACKED' and redis.call('EXISTS',k)==1 then \
info={} local all=redis.call('XINFO','STREAM',k) for i=1,#all,2 do info[all[i]]=all[i+1] end \
local n,from,last,done=0,'-',nil,false \
repeat local new=0 \
for _,e in ipairs(redis.call('XRANGE',k,from,how=='MINID' and ARGV[4] or '+','COUNT',101)) do \
if e[1]~=last and not done then if most and n>=most or held(e[1]) then done=true else n=n+1 new=new+1 from=e[1] end end end \
last=from until done or new==0 \
if n>0 then redis.call('XTRIM',k,'MAXLEN',redis.call('XLEN',k)-n) if most then most=most-n end end end \
local from,last='-',nil \
while not most or most>0 do \
local found=redis.call('XRANGE',k,from,how=='MINID' and ARGV[4] or '+','COUNT',101) local new=0 \
for _,e in ipairs(found) do local id=e[1] \
if id~=last and not (most and most<=0) then new=new+1 \
if mode=='DELREF' then release(id) end \
if mode=='KEEPREF' or mode=='DELREF' and how=='MINID' and ARGV[5]~='1' or mode=='ACKED' and not held(id) then \
redis.call('XDEL',k,id) if most then most=most-1 end \
elseif mode=='DELREF' and most then most=most-1 end \
from,last=id,id end end \
if new==0 then break end end \
if mode=='DELREF' then if how=='MAXLEN' then redis.call('XTRIM',k,'MAXLEN',ARGV[3]) \
elseif ARGV[5]=='1' then redis.call('XTRIM',k,'MINID',ARGV[3]) end end \
if info and info['max-deleted-entry-id'] and info['max-deleted-entry-id']~='0-0' then \
redis.call('XSETID',k,info['last-generated-id'],'ENTRIESADDED',info['entries-added'],\
'MAXDELETEDID',info['max-deleted-entry-id']) end return 1";

/// See [`DELETE`].
pub(super) fn delete() -> Vec<u8> {
    format!("{GROUPS}{DELETE}").into_bytes()
}

/// See [`TRIM`].
pub(super) fn trim() -> Vec<u8> {
    format!("{GROUPS}{TRIM}").into_bytes()
}
