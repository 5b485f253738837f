//! `keyferry rdb verify`: takes every value apart, and checks the checksum.

use indicatif::HumanCount;
use keyferry_rdb::{Checksum, Item, object::Element};

use super::{
    Words,
    args::VerifyArgs,
    failure::Result,
    input::Input,
    select::Select,
    walk::{Found, Visit, walk},
};

/// What was seen.
#[derive(Default)]
struct Verify {
    keys: u64,
    elements: u64,
    functions: u64,
    checksum: Option<Checksum>,
}

pub(super) fn run(input: &mut Input, args: &VerifyArgs) -> Result<Words> {
    let mut seen = Verify::default();
    let bytes = walk(input, &Select::new(&args.select), &mut seen)?;
    let mut words = format!(
        "{} is a good dump: {} keys, {} elements, {} functions, {bytes} bytes, {}",
        input.name(),
        HumanCount(seen.keys),
        HumanCount(seen.elements),
        seen.functions,
        checksum_words(seen.checksum),
    );
    let trailing = input.trailing(bytes)?;
    if trailing > 0 {
        words += &format!("; {trailing} bytes follow it and were not looked at");
    }
    Ok(Words(vec![words]))
}

/// What the end of a dump says of its checksum.
pub(super) fn checksum_words(checksum: Option<Checksum>) -> &'static str {
    match checksum {
        Some(Checksum::Ok) => "the checksum is right",
        Some(Checksum::Disabled) => "the server that wrote it left the checksum out",
        Some(Checksum::Absent | Checksum::Unchecked) | None => "its version has no checksum",
    }
}

impl Visit for Verify {
    fn item(&mut self, item: &Item<'_>) -> Result<()> {
        match item {
            Item::Function { .. } => self.functions += 1,
            Item::End { checksum } => self.checksum = Some(*checksum),
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, _: &Found, _: Option<&[u8]>) -> Result<bool> {
        Ok(true)
    }

    fn element(&mut self, _: &Found, element: &Element<'_>) -> Result<()> {
        if !matches!(element, Element::End | Element::StringChunk { last: false, .. }) {
            self.elements += 1;
        }
        Ok(())
    }

    fn end(&mut self, _: &Found, _: u64) -> Result<()> {
        self.keys += 1;
        Ok(())
    }
}
