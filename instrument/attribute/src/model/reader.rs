//! A header being read from a file. Every length is checked against what is left before it is believed.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::Damage;

/// Longest name that is believed. GGUF allows 65,535 bytes; ONNX and PyTorch set no limit, but name after paths of
/// modules.
const MAX_NAME_BYTES: u64 = u16::MAX as u64;

/// A position in a file, and the bytes from there on.
pub(super) struct Reader {
    source: BufReader<File>,
    position: u64,
    bytes: u64,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, Damage> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.map_err(|error| Damage::new(0, error))?;
        Ok(Self {
            source: BufReader::with_capacity(1 << 16, file),
            position: 0,
            bytes,
        })
    }

    /// Where the next byte is in the file.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The file's length.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is left of the file.
    pub(super) fn left(&self) -> u64 {
        self.bytes - self.position
    }

    /// What has gone wrong here.
    pub(super) fn damage(&self, what: String) -> Damage {
        Damage::new(self.position, what)
    }

    pub(super) fn skip(&mut self, bytes: u64) -> Result<(), String> {
        self.expect(bytes)?;
        let distance = i64::try_from(bytes).map_err(|error| error.to_string())?;
        self.source
            .seek_relative(distance)
            .map_err(|error| error.to_string())?;
        self.position += bytes;
        Ok(())
    }

    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<(), String> {
        let bytes = buffer.len() as u64;
        self.expect(bytes)?;
        self.source
            .read_exact(buffer)
            .map_err(|error| error.to_string())?;
        self.position += bytes;
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A name of so many bytes.
    pub(super) fn name(&mut self, bytes: u64) -> Result<String, String> {
        if bytes > MAX_NAME_BYTES {
            return Err(format!("a name of {bytes} bytes"));
        }
        let mut text = vec![0; bytes as usize];
        self.fill(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn expect(&self, bytes: u64) -> Result<(), String> {
        let left = self.left();
        if bytes > left {
            return Err(format!(
                "{bytes} bytes should follow, but the file ends after {left}"
            ));
        }
        Ok(())
    }
}
