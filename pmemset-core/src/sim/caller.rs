//! Who makes a call: where a program called a set or a part.

use super::fault::Call;

/// Where something was called, if through a set or a part.
pub(super) type Origin = Option<&'static core::panic::Location<'static>>;

std::thread_local! {
    static CALLER: core::cell::Cell<Origin> = const { core::cell::Cell::new(None) };
}

/// Remembers who stores or flushes next.
pub(crate) fn called_by(caller: &'static core::panic::Location<'static>) {
    CALLER.set(Some(caller));
}

/// Forgets who did: another program begins.
pub(super) fn called_by_nobody() {
    CALLER.set(None);
}

/// Returns who makes `call`.
pub(super) fn caller(call: Call) -> Origin {
    CALLER.get().filter(|_| call.is_made_by_a_part())
}
