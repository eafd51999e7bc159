//! Files that may be compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use liblzma::bufread::XzDecoder;
use liblzma::write::XzEncoder;

const BUFFER_BYTES: usize = 1 << 16;
/// The fastest: traces are long, and most of what repeats in them is near.
const XZ_LEVEL: u32 = 1;

/// Opens a file; whether it is gzip or xz is told by its first bytes.
///
/// # Errors
/// If it can't be read.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    let start = file.fill_buf()?;
    let buffered = |input: Box<dyn Read>| -> Box<dyn BufRead> {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, input))
    };
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        buffered(Box::new(MultiGzDecoder::new(file)))
    } else if start.starts_with(b"\xfd7zXZ\0") {
        buffered(Box::new(XzDecoder::new_multi_decoder(file)))
    } else {
        Box::new(file)
    })
}

/// A file that is being written; [`Output::finish`] completes it.
pub struct Output(Encoder);

enum Encoder {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Xz(XzEncoder<BufWriter<File>>),
}

/// Creates a file; it is compressed if its name ends with `.gz` or `.xz`.
///
/// # Errors
/// If it can't be written.
pub fn create(path: &Path) -> io::Result<Output> {
    let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
    Ok(Output(match path.extension().and_then(|it| it.to_str()) {
        Some("gz") => Encoder::Gzip(GzEncoder::new(file, flate2::Compression::fast())),
        Some("xz") => Encoder::Xz(XzEncoder::new(file, XZ_LEVEL)),
        _ => Encoder::Plain(file),
    }))
}

impl Output {
    /// Writes what is left.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn finish(self) -> io::Result<()> {
        let mut file = match self.0 {
            Encoder::Plain(file) => file,
            Encoder::Gzip(encoder) => encoder.finish()?,
            Encoder::Xz(encoder) => encoder.finish()?,
        };
        file.flush()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Encoder::Plain(file) => file.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Xz(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Encoder::Plain(file) => file.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Xz(encoder) => encoder.flush(),
        }
    }
}
