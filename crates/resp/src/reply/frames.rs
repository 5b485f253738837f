//! The aggregates a reply scanner is inside of.
//!
//! Only how many elements each still waits for, in a fixed number of levels, so a reply of any size and shape costs the
//! same memory.

/// Levels of nesting allowed. The deepest reply of a server's own commands has fewer than ten (COMMAND DOCS).
pub(super) const MAX_DEPTH: usize = 32;

/// A stack of open aggregates.
#[derive(Debug, Clone, Default)]
pub(super) struct Frames {
    /// Elements still to come, of each open level; never 0 there.
    left: [u64; MAX_DEPTH],
    depth: usize,
    /// Bit `d` says that level `d` is an attribute, which is not an element of what it stands in.
    attributes: u32,
}

impl Frames {
    pub(super) fn is_empty(&self) -> bool {
        self.depth == 0
    }

    /// Opens an aggregate of `elements`, more than 0. False when there is no level left.
    pub(super) fn push(&mut self, elements: u64, is_attribute: bool) -> bool {
        let Some(slot) = self.left.get_mut(self.depth) else { return false };
        *slot = elements;
        let bit = 1_u32.wrapping_shl(self.depth as u32);
        self.attributes = if is_attribute { self.attributes | bit } else { self.attributes & !bit };
        self.depth = self.depth.saturating_add(1);
        true
    }

    /// Counts one complete element, and closes the aggregates that it completes. True when nothing is open any more and
    /// the element, or the aggregate it completed, is a reply.
    #[inline]
    pub(super) fn complete_one(&mut self) -> bool {
        while let Some(level) = self.depth.checked_sub(1) {
            let Some(left) = self.left.get_mut(level) else { return false };
            *left = left.saturating_sub(1);
            if *left > 0 {
                return false;
            }
            self.depth = level;
            if self.attributes & 1_u32.wrapping_shl(level as u32) != 0 {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_all_that_are_complete() {
        let mut f = Frames::default();
        assert!(f.complete_one());
        assert!(f.push(2, false) && f.push(1, false));
        assert!(!f.complete_one());
        assert!(!f.is_empty());
        assert!(f.complete_one());
        assert!(f.is_empty());
    }

    #[test]
    fn an_attribute_is_no_element() {
        let mut f = Frames::default();
        assert!(f.push(2, true));
        assert!(!f.complete_one());
        assert!(!f.complete_one());
        assert!(f.is_empty());
        assert!(f.complete_one());
    }

    #[test]
    fn depth_is_bounded() {
        let mut f = Frames::default();
        for _ in 0..MAX_DEPTH {
            assert!(f.push(1, false));
        }
        assert!(!f.push(1, false));
        assert!(f.complete_one());
    }
}
