//! Why a DRAM was refused.

use std::fmt;

use super::mapping::DEFAULT_MAPPING;

/// Why a DRAM was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DramError {
    /// No such device.
    Device {
        /// What was asked for.
        name: String,
        /// The device that was probably meant.
        nearest: Option<String>,
    },
    /// The device does not come in this organisation.
    Organisation {
        /// What was asked for.
        name: String,
        /// Of which device.
        device: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A device file is wrong.
    DeviceFile {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// An address mapping is wrong.
    Mapping {
        /// The mapping.
        text: String,
        /// What is wrong with it.
        message: String,
    },
    /// A line does not fit a row.
    LineSize {
        /// The line.
        line_bytes: u32,
        /// The row.
        row_bytes: u32,
    },
    /// A controller can't be configured so.
    Controller(String),
}

impl fmt::Display for DramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DramError::Device { name, nearest } => {
                write!(f, "unknown device '{name}'")?;
                nearest
                    .iter()
                    .try_for_each(|nearest| write!(f, "; did you mean '{nearest}'?"))
            }
            DramError::Organisation { name, device, known } => {
                write!(
                    f,
                    "{device} has no organisation '{name}': use one of {}",
                    known.join(", ")
                )
            }
            DramError::DeviceFile { file, message } => write!(f, "{file}: {message}"),
            DramError::Mapping { text, message } => {
                write!(f, "mapping '{text}': {message}; the default is {DEFAULT_MAPPING}")
            }
            DramError::LineSize {
                line_bytes,
                row_bytes,
            } => {
                write!(f, "a line of {line_bytes} B does not fit a row of {row_bytes} B")
            }
            DramError::Controller(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for DramError {}
