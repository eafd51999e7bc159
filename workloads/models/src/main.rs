//! `memloupe-models`: lists the shapes and writes model files.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use memloupe_models::{DataType, Model, SHAPES, Shape, write_file};

/// Random-weight GGUF models of real published shapes
#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the shapes, their sizes and where they were published
    List,
    /// Write a model file
    Write {
        /// One of the names that `list` shows
        #[arg(value_parser = shape_parser())]
        shape: &'static Shape,
        /// Type of the matrices; norms and biases are always F32
        #[arg(long = "type", default_value = "q4_0", value_parser = data_type_parser())]
        data_type: DataType,
        /// The same seed gives the same file
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where to write it
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

fn shape_parser() -> impl TypedValueParser<Value = &'static Shape> {
    PossibleValuesParser::new(SHAPES.iter().map(|shape| shape.name))
        .map(|name| Shape::named(&name).expect("clap admits known names only"))
}

fn data_type_parser() -> impl TypedValueParser<Value = DataType> {
    PossibleValuesParser::new(DataType::OF_MATRICES.iter().map(|data_type| data_type.name()))
        .map(|name| DataType::named(&name).expect("clap admits known names only"))
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::List => list().map_err(|error| format!("cannot print the list: {error}")),
        Command::Write {
            shape,
            data_type,
            seed,
            output,
        } => write(shape, data_type, seed, &output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{:<15} {:>12}", "shape", "parameters")?;
    for data_type in DataType::OF_MATRICES {
        write!(out, " {:>8}", data_type.name())?;
    }
    writeln!(out, "  source")?;
    for shape in SHAPES {
        write!(
            out,
            "{:<15} {:>12}",
            shape.name,
            Model::new(shape, DataType::F16, 0).n_parameters()
        )?;
        for &data_type in DataType::OF_MATRICES {
            let size_mb = Model::new(shape, data_type, 0).data_bytes().div_ceil(1_000_000);
            write!(out, " {:>8}", format!("{size_mb} MB"))?;
        }
        writeln!(out, "  {}", shape.source)?;
    }
    Ok(())
}

fn write(shape: &Shape, data_type: DataType, seed: u64, output: &std::path::Path) -> Result<(), String> {
    let model = Model::new(shape, data_type, seed);
    let total_bytes = model.data_bytes();
    let start = Instant::now();
    let mut shown = start;
    let terminal = io::stderr().is_terminal();
    let mut progress = |written_bytes: u64| {
        if terminal && shown.elapsed() > Duration::from_millis(100) {
            shown = Instant::now();
            eprint!(
                "\rwriting {}: {:3}%",
                output.display(),
                written_bytes * 100 / total_bytes
            );
        }
    };
    let written = write_file(&model, output, &mut progress);
    if terminal && shown != start {
        eprint!("\r\x1b[K");
    }
    let size_bytes = written.map_err(|error| error.to_string())?;
    eprintln!(
        "wrote {}: {}, {}, seed {seed}, {:.1} MB in {:.1} s",
        output.display(),
        shape.name,
        data_type.name(),
        size_bytes as f64 / 1e6,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
