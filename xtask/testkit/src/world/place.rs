//! A platform that is the machine's own, or the caller's reservation in it.
#![allow(unsafe_code, reason = "an implementation of an unsafe trait")]

use pmemset_core::sim::SimPlatform;
use pmemset_core::{Platform, Reservation, forward_platform};

pub enum Place<'g> {
    Own(SimPlatform),
    Inside(&'g Reservation<'static, SimPlatform>),
}

// SAFETY: every call goes to a platform that keeps the promises.
unsafe impl Platform for Place<'_> {
    type Lock = <SimPlatform as Platform>::Lock;
    type Space = <SimPlatform as Platform>::Space;

    forward_platform!(self { Self::Own(platform) => platform, Self::Inside(platform) => platform });
}
