//! Which bytes of a source are bad.

use std::format;
use std::string::String;
use std::vec::Vec;

use pmemset_core::{BadBlocks, Span};

use super::report::{Subject, Value};
use super::text::Size;

/// The most bad blocks that are counted of one source.
const BLOCKS_MAX: usize = 64;

/// Notes which bytes of a source of `length_bytes` are bad, as `list` lists them; `clearing` says what
/// `clear_bad_block` does there.
pub fn add(
    length_bytes: u64,
    list: impl FnOnce(Span, &mut [Span]) -> BadBlocks,
    whose: &str,
    clearing: &str,
    subject: &mut Subject,
) {
    let Some(all) = Span::new(0, length_bytes) else { return };
    let mut blocks = [all; BLOCKS_MAX];
    let value = match list(all, &mut blocks) {
        BadBlocks::None => "none".into(),
        BadBlocks::Listed { count, more } => {
            let places: Vec<String> = blocks.iter().take(count).take(3).map(|block| format!("{block}")).collect();
            let bytes = blocks.iter().take(count).fold(0_u64, |sum, block| sum.saturating_add(block.length_bytes()));
            subject.error(
                format!("{} of {whose} are bad, among them {}", Size(bytes), places.join(", ")),
                format!("reading them raises SIGBUS; Health::clear_bad_block {clearing}"),
                None,
            );
            let least = if more { " at least" } else { "" };
            format!("{count}{least}, {} together", Size(bytes)).into()
        }
        BadBlocks::Unknown(reason) => Value::Unknown(format!("{reason}")),
        _ => Value::Unknown("an answer that this version does not know".into()),
    };
    subject.note("bad blocks", value);
}
