//! Kernel calls that the standard library does not offer, behind safe faces.

pub mod beneath;
