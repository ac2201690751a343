//! The arguments of `millpond codegen`, and its help.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{ArgGroup, Args, ValueEnum};
use millpond::schema::Layout;

use crate::values::size;

const EXAMPLES: &str = "\
Examples:
  millpond codegen contracts.yaml --explain
      Prints sizes, classes and unused bytes; writes nothing.
  millpond codegen contracts.yaml -o src/generated.rs
  millpond codegen contracts.yaml -o src/generated.rs --check
      In CI: fails if the file is not what the contracts say.
  millpond codegen contracts.yaml --plot classes.svg
  millpond codegen contracts.yaml --explain --traffic Ping=1000,Page=20 --memory-limit 8MiB
      Shows the pool for a known mix of messages.

The first lines of the code contain the command, so run it from the same folder each time. The crate that includes \
the code needs `millpond` with the feature `messages`.

Exit codes: 0 success; 1 the contracts are wrong, a file or stdout cannot be read or written, or a file is stale; 2 \
wrong usage.";

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("files").args(["output", "plot"]).multiple(true)), after_help = EXAMPLES)]
pub(crate) struct CodegenArgs {
    /// The messages: YAML, at most 1 MiB; `-`: stdin
    #[arg(value_name = "CONTRACTS")]
    pub(crate) contracts: PathBuf,

    /// Where the code goes; `-`: stdout, as without --output, --explain and --plot. A file in which nothing
    /// but line ends would change is not touched
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Writes nothing, and fails if a file is missing or would change by more than line ends
    #[arg(long, requires = "files")]
    pub(crate) check: bool,

    /// Where payloads have padding
    #[arg(long, value_enum, default_value_t = LayoutArg::ReprC)]
    pub(crate) layout: LayoutArg,

    /// Refuses received messages with bytes that carry no value and are not zero: padding, unused slots
    #[arg(long)]
    pub(crate) strict_padding: bool,

    /// The dialect of the contracts; a file in another one is an error
    #[arg(long, value_enum, default_value_t = DialectArg::Auto)]
    pub(crate) dialect: DialectArg,

    /// Plans the pool for this traffic, instead of 64 KiB per class: how often each message is sent in some period.
    /// Messages that are not named count as 1
    #[arg(long, value_name = "NAME=COUNT,...", value_delimiter = ',', value_parser = count, requires = "memory_limit")]
    pub(crate) traffic: Vec<(String, u64)>,

    /// The memory limit of the planned pool; with 4 GiB or more the code is for 64-bit machines only
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "traffic")]
    pub(crate) memory_limit: Option<ByteSize>,

    /// Derives serde's traits if the crate that contains the code has a feature `serde`, and that is on
    #[arg(long)]
    pub(crate) serde: bool,

    /// Prints sizes, classes, and the unused part of each class
    #[arg(long)]
    pub(crate) explain: bool,

    /// Plots the same as SVG; `-`: to stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) color: colorchoice_clap::Color,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LayoutArg {
    /// No padding
    Packed,
    /// As in a struct with #[repr(C)]
    ReprC,
}

impl From<LayoutArg> for Layout {
    fn from(layout: LayoutArg) -> Self {
        match layout {
            LayoutArg::Packed => Self::Packed,
            LayoutArg::ReprC => Self::ReprC,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DialectArg {
    /// Either form
    Auto,
    /// `messages:` is a map, by name
    Map,
    /// `messages:` is a list
    List,
}

fn count(text: &str) -> Result<(String, u64), String> {
    let (name, count) =
        text.split_once('=').ok_or("write the name of a message and a number, as in Ping=1000")?;
    let count = count.parse().map_err(|_| format!("{name}: write a number, not {count}"))?;
    Ok((name.to_owned(), count))
}
