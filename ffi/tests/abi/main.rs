//! The C ABI: its header, its clients, and what it does with calls that nobody should make.

// The calls of C, made from here.
#![allow(unsafe_code)]

mod adapters;
mod calls;
mod client;
mod header;
mod install;
mod library;
mod memory;
mod python;
mod reader;
mod system;
