//! `app.*`: methods of applications that this server answers itself.

pub mod bsky;
