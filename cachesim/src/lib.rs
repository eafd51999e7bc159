//! Exact simulation of set-associative caches, fed with runs of accesses.
//!
//! What is modelled: any number of levels, each private to a core, shared by a cluster or by all, split or unified.
//! *Plain* levels (LRU, write-back, write-allocate, neither inclusive nor exclusive) take the fast path. What else a level
//! may do, on the general path, is [`LevelOptions`]; which policies there are, [`replacement::BUILTIN`] and
//! [`prefetch::BUILTIN`]. Every counter is
//! kept per *owner*, an index that the caller chooses (an operator, a site, an object, or a combination of them).
//! Beside the caches, [`locality`] measures what no single machine decides: reuse, lifetimes, strides, sharing.
//!
//! Addresses may be translated: TLBs and page walks, [`TranslationConfig`].
//!
//! What is not: time. Private caches are coherent only where a level has a directory ([`LevelOptions::coherence`]): without one,
//! two cores that write one line each keep a dirty copy of it.
//!
//! Policies and prefetchers may come from shared libraries: [`replacement::load`], [`prefetch::load`].
//!
//! Libraries apart, the crate does no I/O and knows no process: addresses go in, counters and the requests to memory come out.
//!
//! ```
//! use memloupe_cachesim::{
//!     AccessKind, CacheConfig, Caches, Config, Contents, LevelOptions, Memory, Operand, Run, Scope,
//! };
//!
//! #[derive(Default)]
//! struct Traffic { reads: u64, writes: u64 }
//! impl Memory for Traffic {
//!     fn read(&mut self, _line_address: u64, lines: u64, _owner: u32) { self.reads += lines; }
//!     fn write(&mut self, _line_address: u64, lines: u64, _owner: u32) { self.writes += lines; }
//! }
//!
//! let config = Config {
//!     line_bytes: 64,
//!     levels: vec![CacheConfig {
//!         name: "l1d".into(), contents: Contents::Data, scope: Scope::Private, bytes: 32 << 10, ways: 8,
//!         options: LevelOptions::default(),
//!     }],
//!     translation: None,
//! };
//! let mut caches = Caches::new(&config, 1)?;
//! caches.reserve_owners(1);
//! let mut memory = Traffic::default();
//! let load = Operand { address: 0x1000, stride: 8, bytes: 8, kind: AccessKind::Load, owner: 0 };
//! caches.run(0, Run { operands: &[load], iterations: 1024, scattered: &[] }, &mut memory);
//! assert_eq!((memory.reads, memory.writes), (128, 0)); // 1024 × 8 bytes are 128 lines
//! # Ok::<(), memloupe_cachesim::ConfigError>(())
//! ```

#![deny(unsafe_code)] // allowed in runs/lanes.rs: vector instructions; in plugin.rs and loaded.rs: calls into shared libraries

mod cache;
mod caches;
mod config;
mod detail;
mod difference;
mod general;
mod ledger;
mod levels;
mod line_map;
pub mod locality;
mod memory;
mod owner;
mod plain;
#[allow(unsafe_code)]
pub mod plugin;
pub mod prefetch;
pub mod replacement;
mod run;
mod runs;
mod set_index;
mod translation;

pub use caches::{Caches, DirtyLine, Holder};
pub use config::{
    CacheConfig, Config, ConfigError, Contents, Inclusion, LevelOptions, PageSize, Partition, PartitionBy,
    Protocol, Scope, TlbConfig, TranslationConfig, Walks, WritePolicy,
};
pub use detail::{Field, LevelDetail};
pub use ledger::{Cause, Ledger, LevelCounters, OwnerCounters};
pub use memory::Memory;
pub use owner::OwnerTraits;
pub use plugin::PluginError;
pub use run::{AccessKind, Operand, Run, SCATTERED};
pub use translation::TranslationCounters;
