//! Frames: what goes over the socket for one event.

use std::str::FromStr;

use bytes::Bytes;

use super::{AccountEvent, CommitEvent, Event, IdentityEvent, Kind, SyncEvent};
use crate::wire::{Reader, WireError, Writer};

/// Longest frame in bytes. Source: atproto.com/specs/event-stream.
pub const MAX_FRAME_LEN: usize = 5_000_000;

const INFO: &str = "#info";
const SEQ: &str = "seq";

/// A frame as a subscriber sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A numbered event.
    Event {
        /// Greater with each event of a host.
        seq: i64,
        /// The event.
        event: Event,
    },
    /// Something about the stream itself.
    Info {
        /// What, for programs.
        name: String,
        /// What, for people.
        message: Option<String>,
    },
    /// Why the stream ends here.
    Error {
        /// What, for programs.
        error: String,
        /// What, for people.
        message: Option<String>,
    },
}

/// Why bytes are not a frame, or not an event's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`MAX_FRAME_LEN`].
    #[error("frame is longer than {MAX_FRAME_LEN} bytes")]
    TooLong,
    /// Not the canonical DAG-CBOR of a frame or body.
    #[error("frame is malformed")]
    Encoding(#[from] WireError),
    /// A text field of the wrong format.
    #[error("frame has a malformed {0}")]
    Field(&'static str),
    /// A body that has its number already.
    #[error("body has a seq already")]
    HasSeq,
}

/// The frame of an event: a header `{t: "#commit", op: 1}` of its kind, then `body` with `seq` put in.
///
/// `body` is what [`Event::encode`] gave. Reads only as far as the place of `seq`, and copies the rest as it is.
///
/// # Errors
/// `Encoding` or `HasSeq` if `body` is no such body.
pub fn frame(kind: Kind, body: &[u8], seq: i64) -> Result<Bytes, FrameError> {
    let mut reader = Reader::new(body);
    let fields = reader.map()?;
    let start = reader.rest();
    for _ in 0..fields {
        let mut ahead = reader;
        let key = ahead.text()?;
        if key == SEQ {
            return Err(FrameError::HasSeq);
        }
        if (key.len(), key) > (SEQ.len(), SEQ) {
            break;
        }
        ahead.skip()?;
        reader = ahead;
    }
    let (before, after) = start.split_at(start.len() - reader.rest().len());
    let mut writer = Writer::with_capacity(body.len() + 48);
    write_header(kind.name(), &mut writer);
    writer.map(fields + 1).raw(before).text(SEQ).int(seq).raw(after);
    Ok(writer.finish().into())
}

/// The frame of an `#info`: `{name, message?}`.
pub fn info_frame(name: &str, message: Option<&str>) -> Bytes {
    let mut writer = Writer::default();
    write_header(INFO, &mut writer);
    write_message("name", name, message, &mut writer);
    writer.finish().into()
}

/// The frame that ends a stream: a header `{op: -1}`, then `{error, message?}`.
pub fn error_frame(error: &str, message: Option<&str>) -> Bytes {
    let mut writer = Writer::default();
    writer.map(1).text("op").int(-1);
    write_message("error", error, message, &mut writer);
    writer.finish().into()
}

fn write_header(name: &str, writer: &mut Writer) {
    writer.map(2).text("t").text(name).text("op").int(1);
}

fn write_message(field: &'static str, name: &str, message: Option<&str>, writer: &mut Writer) {
    writer.map(1 + usize::from(message.is_some())).text(field).text(name);
    if let Some(message) = message {
        writer.text("message").text(message);
    }
}

impl Frame {
    /// Reads a frame in the exact form in which this module writes them: a check of what was sent, not a client for
    /// every host there is.
    pub fn decode(frame: &[u8]) -> Result<Self, FrameError> {
        if frame.len() > MAX_FRAME_LEN {
            return Err(FrameError::TooLong);
        }
        let mut reader = Reader::new(frame);
        let kind = read_header(&mut reader)?;
        let decoded = match kind {
            None => {
                let (error, message) = read_message("error", &mut reader)?;
                Self::Error { error, message }
            }
            Some(INFO) => {
                let (name, message) = read_message("name", &mut reader)?;
                Self::Info { name, message }
            }
            Some(name) => {
                let kind = Kind::from_name(name).ok_or(WireError::Expected("a known kind of event"))?;
                let (seq, event) = read_event(kind, &mut reader)?;
                Self::Event { seq, event }
            }
        };
        reader.finish()?;
        Ok(decoded)
    }
}

/// The kind of message; `None` for an error.
fn read_header<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>, WireError> {
    let (kind, op) = if reader.optional_field(1)? { (Some(reader.key("t")?.text()?), 1) } else { (None, -1) };
    if reader.key("op")?.int()? == op { Ok(kind) } else { Err(WireError::Expected("a known op")) }
}

fn read_message(field: &'static str, reader: &mut Reader<'_>) -> Result<(String, Option<String>), WireError> {
    let has_message = reader.optional_field(1)?;
    let name = reader.key(field)?.text()?.to_owned();
    let message = if has_message { Some(reader.key("message")?.text()?.to_owned()) } else { None };
    Ok((name, message))
}

fn read_event(kind: Kind, reader: &mut Reader<'_>) -> Result<(i64, Event), FrameError> {
    Ok(match kind {
        Kind::Commit => CommitEvent::read(reader).map(|(seq, event)| (seq, Event::Commit(event)))?,
        Kind::Sync => SyncEvent::read(reader).map(|(seq, event)| (seq, Event::Sync(event)))?,
        Kind::Identity => IdentityEvent::read(reader).map(|(seq, event)| (seq, Event::Identity(event)))?,
        Kind::Account => AccountEvent::read(reader).map(|(seq, event)| (seq, Event::Account(event)))?,
    })
}

/// Reads a text field.
pub(super) fn parse<T: FromStr>(field: &'static str, text: &str) -> Result<T, FrameError> {
    text.parse().map_err(|_| FrameError::Field(field))
}
