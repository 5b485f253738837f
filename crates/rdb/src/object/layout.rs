//! What the decoder must know of each type: which elements it has and where they stand.

use crate::{
    packed::Packing,
    value_type::{VALKEY, ValueType},
};

/// How a value is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// One string, to be given in pieces.
    String,
    /// A number, then so many items.
    Counted(Item),
    /// Eight bytes of a time, a number, then so many items whose times count from there.
    CountedFrom(Item),
    /// One block.
    Block(Packing, Shape),
    /// Eight bytes of a time that matter to nobody here, then one block.
    TimedBlock(Packing, Shape),
    /// A stream.
    Stream(StreamVersion),
    /// A value of a module.
    Module,
}

/// What one item of a counted layout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    ListElement,
    SetMember,
    /// A member and a score in digits.
    TextScore,
    /// A member and a score as it stands in memory.
    BinaryScore,
    /// A field and a value.
    Field,
    /// An expiry, a field and a value.
    ExpiryField,
    /// A field, a value and eight bytes of an expiry.
    FieldExpiry,
    /// A ziplist, a node of a list.
    ZiplistNode,
    /// A number that says whether the node of a list is one element or a listpack, then that.
    Node,
}

/// What the elements of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    List,
    Set,
    /// Members and scores in turn.
    Zset,
    /// Fields and values in turn.
    Hash,
    /// Fields, values and expiries in turn.
    HashExpiry,
}

/// What a stream has beside its entries, rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StreamVersion {
    /// Redis 5.0.
    First,
    /// With what was deleted and the number of entries read (7.0).
    History,
    /// With times at which consumers were active (7.2).
    Active,
    /// With what producers wrote (8.6).
    Idempotent,
}

impl Layout {
    pub(super) fn of(kind: ValueType) -> Self {
        // rdb.c rdbLoadObject, Redis 8.6 and Valkey 9.0; the numbers are those of the table of types.
        const VALKEY_HASH_2: u8 = 22 | VALKEY;
        match kind.code() {
            1 => Self::Counted(Item::ListElement),
            2 => Self::Counted(Item::SetMember),
            3 => Self::Counted(Item::TextScore),
            4 => Self::Counted(Item::Field),
            5 => Self::Counted(Item::BinaryScore),
            7 => Self::Module,
            9 => Self::Block(Packing::Zipmap, Shape::Hash),
            10 => Self::Block(Packing::Ziplist, Shape::List),
            11 => Self::Block(Packing::Intset, Shape::Set),
            12 => Self::Block(Packing::Ziplist, Shape::Zset),
            13 => Self::Block(Packing::Ziplist, Shape::Hash),
            14 => Self::Counted(Item::ZiplistNode),
            15 => Self::Stream(StreamVersion::First),
            16 => Self::Block(Packing::Listpack, Shape::Hash),
            17 => Self::Block(Packing::Listpack, Shape::Zset),
            18 => Self::Counted(Item::Node),
            19 => Self::Stream(StreamVersion::History),
            20 => Self::Block(Packing::Listpack, Shape::Set),
            21 => Self::Stream(StreamVersion::Active),
            22 => Self::Counted(Item::ExpiryField),
            23 => Self::Block(Packing::Listpack, Shape::HashExpiry),
            24 => Self::CountedFrom(Item::ExpiryField),
            25 => Self::TimedBlock(Packing::Listpack, Shape::HashExpiry),
            26 => Self::Stream(StreamVersion::Idempotent),
            VALKEY_HASH_2 => Self::Counted(Item::FieldExpiry),
            _ => Self::String,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Group, Magic};

    #[test]
    fn every_type_has_the_layout_of_its_group() {
        for magic in [Magic::Redis, Magic::Valkey] {
            for kind in (0..=255).filter_map(|byte| ValueType::from_byte(byte, magic)) {
                let group = match Layout::of(kind) {
                    Layout::String => Group::String,
                    Layout::Counted(item) | Layout::CountedFrom(item) => match item {
                        Item::ListElement | Item::ZiplistNode | Item::Node => Group::List,
                        Item::SetMember => Group::Set,
                        Item::TextScore | Item::BinaryScore => Group::Zset,
                        Item::Field | Item::ExpiryField | Item::FieldExpiry => Group::Hash,
                    },
                    Layout::Block(_, shape) | Layout::TimedBlock(_, shape) => match shape {
                        Shape::List => Group::List,
                        Shape::Set => Group::Set,
                        Shape::Zset => Group::Zset,
                        Shape::Hash | Shape::HashExpiry => Group::Hash,
                    },
                    Layout::Stream(_) => Group::Stream,
                    Layout::Module => Group::Module,
                };
                assert_eq!(group, kind.group(), "{kind}");
            }
        }
    }
}
