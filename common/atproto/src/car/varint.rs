//! Lengths as unsigned LEB128: seven bits a byte, the lowest first, the top bit set on all but the last.

use bytes::{BufMut, BytesMut};

const MORE: u8 = 0x80;

/// Longest varint read, in bytes: enough for lengths up to 256 MiB.
const MAX_WIDTH: usize = 4;

/// More than [`MAX_WIDTH`] bytes, or more than the value needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Bytes that `value` takes.
pub(super) fn width(value: usize) -> usize {
    (usize::BITS - value.leading_zeros()).div_ceil(7).max(1) as usize
}

pub(super) fn write(mut value: usize, out: &mut BytesMut) {
    while value >= usize::from(MORE) {
        out.put_u8(value.to_le_bytes()[0] | MORE);
        value >>= 7;
    }
    out.put_u8(value.to_le_bytes()[0]);
}

/// The varint at the front of `bytes` and its width; `None` if it is not there to its end.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(MAX_WIDTH).enumerate() {
        value |= usize::from(byte & !MORE) << (7 * index);
        if byte & MORE == 0 {
            // A zero at the end adds nothing: the value has a shorter form.
            return if byte == 0 && index > 0 { Err(Malformed) } else { Ok(Some((value, index + 1))) };
        }
    }
    if bytes.len() < MAX_WIDTH { Ok(None) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_back() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, (1 << 28) - 1] {
            let mut out = BytesMut::new();
            write(value, &mut out);
            assert_eq!(out.len(), width(value));
            assert_eq!(read(&out), Ok(Some((value, out.len()))));
            assert_eq!(read(&out[..out.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn long_forms_are_refused() {
        for bytes in [&[0x80, 0][..], &[0xff, 0x80, 0], &[0xff; 4], &[0x80, 0x80, 0x80, 0x80, 1]] {
            assert_eq!(read(bytes), Err(Malformed), "{bytes:x?}");
        }
    }
}
