//! The collector: a shared library that ITT and NVTX load into a program by an environment variable each. Programs built
//! with either (oneDNN, OpenVINO, PyTorch's `emit_itt` and `emit_nvtx`) tell it when their tasks begin and end, and it
//! calls the markers: a task is an operator whose kind is the task's name.
//!
//! Not collected: tasks that overlap or end on another thread than they began on (ITT frames and regions, NVTX start and
//! end), names in wide characters, counters and metadata.
#![forbid(unsafe_code)]

/// The library's bytes.
pub const LIBRARY: &[u8] = include_bytes!(env!("MEMLOUPE_COLLECTOR"));

/// The environment variables that name it to the programs.
pub const VARIABLES: [&str; 2] = ["INTEL_LIBITTNOTIFY64", "NVTX_INJECTION64_PATH"];
