//! One complete request, as a view of the bytes it came in.

/// A complete request. It borrows the bytes it was found in and owns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    bytes: &'a [u8],
    name: &'a [u8],
    argc: usize,
}

impl<'a> Request<'a> {
    /// `bytes` must be one whole request of `argc` arguments as the scanner accepts it, `name` the first of them.
    pub(super) fn new(bytes: &'a [u8], name: &'a [u8], argc: usize) -> Self {
        Self { bytes, name, argc }
    }

    /// The exact bytes on the wire with the last CRLF; their length is what to consume.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of arguments including the name; 0 for a bare LF, an empty line or an empty array.
    #[inline]
    pub fn argc(&self) -> usize {
        self.argc
    }

    /// The command name as it was sent, in whatever case; empty when there are no arguments.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// Argument `i`, where 0 is the name. Takes time proportional to `i`.
    #[inline]
    pub fn arg(&self, i: usize) -> Option<&'a [u8]> {
        if i == 0 && self.argc > 0 { Some(self.name) } else { self.args().nth(i) }
    }

    /// All arguments, the name first. Scans the bytes again and allocates nothing.
    #[inline]
    pub fn args(&self) -> Args<'a> {
        match self.bytes {
            [b'*', rest @ ..] => Args { rest: after_number(rest).1, left: self.argc, inline: false },
            rest => Args { rest, left: self.argc, inline: true },
        }
    }

    /// Whether nothing was asked for: a bare LF, an empty line or an empty array.
    #[inline]
    pub fn is_newline(&self) -> bool {
        self.argc == 0
    }
}

/// The arguments of a [`Request`] in their order.
#[derive(Debug, Clone)]
pub struct Args<'a> {
    rest: &'a [u8],
    left: usize,
    inline: bool,
}

impl<'a> Iterator for Args<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        if self.inline {
            let (word, rest) = next_word(self.rest);
            self.rest = rest;
            return Some(word);
        }
        // The scanner has seen `$<length>CRLF<bytes>CRLF` here: anything else ends the iteration.
        let [b'$', rest @ ..] = self.rest else { return None };
        let (len, rest) = after_number(rest);
        let (arg, rest) = rest.split_at_checked(len)?;
        self.rest = rest.get(2..)?;
        Some(arg)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Args<'_> {}

/// Reads the digits of a number that is known to be right, and steps over its CRLF.
#[inline]
fn after_number(mut input: &[u8]) -> (usize, &[u8]) {
    let mut n: usize = 0;
    loop {
        match input {
            [b'\r', b'\n', rest @ ..] => return (n, rest),
            [b, rest @ ..] => {
                // Cannot wrap: the scanner has held the number to a limit. The minus sign of `*-1` only gives a number that
                // nobody uses, since such a request has no arguments.
                n = n.wrapping_mul(10).wrapping_add(usize::from(b.wrapping_sub(b'0')));
                input = rest;
            }
            [] => return (n, input),
        }
    }
}

/// The blanks between the words of an inline request.
#[inline]
pub(super) fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// The next word of an inline request, and what follows it; an empty word at the end of the line.
pub(super) fn next_word(line: &[u8]) -> (&[u8], &[u8]) {
    let is_end = |b: u8| is_blank(b) || b == b'\r' || b == b'\n';
    let from = line.iter().position(|&b| !is_blank(b)).unwrap_or(line.len());
    let line = line.get(from..).unwrap_or_default();
    let to = line.iter().position(|&b| is_end(b)).unwrap_or(line.len());
    line.split_at_checked(to).unwrap_or_default()
}
