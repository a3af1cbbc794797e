//! Frames of strangers can be read and verified, and stored bodies numbered.
#![no_main]

use atproto::commit::Commit;
use atproto::event::{Event, Frame, Kind, frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(commit) = Commit::decode(bytes) {
        assert_eq!(commit.encode(), bytes);
    }
    let _ = frame(Kind::Commit, bytes, 1);
    if let Ok(Frame::Event { seq, event }) = Frame::decode(bytes) {
        let again = frame(event.kind(), &event.encode(), seq).expect("a decoded event has a body");
        // A handle is read into lower case.
        assert!(again.eq_ignore_ascii_case(bytes));
        if let Event::Commit(event) = event {
            let _ = event.verify(None);
        }
    }
});
