//! `millpond codegen`: Rust code, a table of sizes and classes, and a plot, all made from a contract file.

mod args;
mod plot;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::iter;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use millpond::schema::{Diagnostics, Dialect, Layout, MessageDef, Options, Plan, Schema, generate};

pub(crate) use self::args::CodegenArgs;
use self::args::{DialectArg, LayoutArg};
use crate::chain::Chain;
use crate::terminal::{note, output};

/// More than a contract file may have, so a larger file is refused without reading all of it.
const MAX_READ: u64 = 2 * 1024 * 1024;
/// Characters that are shown of a line of a stale file.
const MAX_SHOWN: usize = 100;
/// Characters of a column at most; a longer text exceeds its column.
const MAX_WIDTH: usize = 40;

pub(crate) fn run(args: &CodegenArgs) -> Result<ExitCode, Box<dyn Error>> {
    args.color.write_global();
    if let Some(misuse) = misuse(args) {
        note(format!("millpond: {misuse} (see millpond codegen --help)"));
        return Ok(ExitCode::from(2));
    }
    let text = read(args)?;
    let schema = match parse(args, &text) {
        Ok(schema) => schema,
        Err(diagnostics) => {
            show(&diagnostics);
            return Ok(ExitCode::FAILURE);
        }
    };
    show(schema.warnings());
    let layout = args.layout.into();
    let plan = match plan(args, &schema, layout) {
        Ok(plan) => plan,
        Err(misuse) => {
            note(format!("millpond: {}", Chain(&*misuse)));
            return Ok(ExitCode::from(2));
        }
    };

    let mut fresh = true;
    if args.explain {
        fresh &= output(&explanation(args, &schema, layout, &plan))?;
    }
    let code_path = match &args.output {
        None if args.explain || args.plot.is_some() => None,
        None => Some(Path::new("-")),
        path => path.as_deref(),
    };
    if let Some(path) = code_path {
        let options = Options::default().layout(layout).strict_padding(args.strict_padding);
        let options = options.plan(Some(plan.clone())).serde(args.serde).command(Some(command(args, false)));
        let code = generate(&schema, &options);
        // The same contracts with other line ends have another digest. Their code is fresh, too: git replaces line ends.
        let of_lf = with_lf(&text).and_then(|text| parse(args, &text).ok());
        let code_of_lf = of_lf.map(|schema| generate(&schema, &options));
        fresh &= deliver(args, path, &code, code_of_lf.as_deref())?;
    }
    if let Some(path) = &args.plot {
        let title = format!("{} ({layout})", printable(&args.contracts.to_string_lossy()));
        fresh &= deliver(args, path, &plot::svg(&title, &plan)?, None)?;
    }
    Ok(if fresh { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks combinations of arguments that clap cannot check.
fn misuse(args: &CodegenArgs) -> Option<&'static str> {
    let files = || [&args.output, &args.plot].into_iter().flatten();
    let to_stdout = files().filter(|path| is_std(path)).count() + usize::from(args.explain);
    let place = |path: &Path| if is_std(path) { None } else { absolute(path) };
    let [contracts, output, plot] =
        [Some(&args.contracts), args.output.as_ref(), args.plot.as_ref()].map(|path| place(path?));
    let are_one = |one: &Option<PathBuf>, other: &Option<PathBuf>| one.is_some() && one == other;
    if to_stdout > 1 {
        Some("only one of the code, the plot and the explanation can go to stdout")
    } else if args.check && files().any(|path| is_std(path)) {
        Some("--check compares files, and stdout is not a file")
    } else if are_one(&contracts, &output) || are_one(&contracts, &plot) {
        Some("this would overwrite the contract file")
    } else if are_one(&output, &plot) {
        Some("the code and the plot would be the same file")
    } else {
        None
    }
}

/// The absolute path, whether or not the file exists.
fn absolute(path: &Path) -> Option<PathBuf> {
    let there = fs::canonicalize(path).ok();
    there.or_else(|| Some(fs::canonicalize(folder_of(path)).ok()?.join(path.file_name()?)))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Stdin or stdout.
fn is_std(path: &Path) -> bool {
    path == "-"
}

fn read(args: &CodegenArgs) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let shown = printable(&lossy(&args.contracts));
    let read = match &*args.contracts {
        path if is_std(path) => io::stdin().lock().take(MAX_READ).read_to_end(&mut text),
        path => File::open(path).and_then(|file| file.take(MAX_READ).read_to_end(&mut text)),
    };
    read.map_err(|error| format!("cannot read {shown}: {error}"))?;
    if text.len() as u64 == MAX_READ {
        return Err(format!("{shown} has 2 MiB or more: contracts have at most 1 MiB"));
    }
    Ok(text)
}

fn parse(args: &CodegenArgs, text: &[u8]) -> Result<Schema, Diagnostics> {
    let file = lossy(&args.contracts);
    match args.dialect {
        DialectArg::Auto => Schema::parse(&file, text),
        DialectArg::Map => Schema::parse_as(Dialect::Map, &file, text),
        DialectArg::List => Schema::parse_as(Dialect::List, &file, text),
    }
}

/// The text with LF, if it has CRLF.
fn with_lf(text: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(text).ok().filter(|text| text.contains("\r\n"))?;
    Some(text.replace("\r\n", "\n").into_bytes())
}

/// Plans from the messages alone, or from their traffic.
fn plan(args: &CodegenArgs, schema: &Schema, layout: Layout) -> Result<Plan, Box<dyn Error>> {
    let Some(memory_limit) = args.memory_limit else {
        return Ok(Plan::of_schema(schema, layout)?);
    };
    let mut counts = BTreeMap::new();
    for (name, count) in &args.traffic {
        if !schema.messages().iter().any(|message| message.name == *name) {
            return Err(format!("--traffic: there is no message {}", printable(name)).into());
        }
        if counts.insert(name.as_str(), *count).is_some() {
            return Err(format!("--traffic: {name} is given twice").into());
        }
    }
    let memory_limit = usize::try_from(memory_limit.as_u64()).unwrap_or(usize::MAX);
    let count = |message: &MessageDef| counts.get(message.name.as_str()).copied().unwrap_or(1);
    Ok(Plan::of_traffic(schema, layout, memory_limit, count)?)
}

/// Shows diagnostics on stderr, in colour if it is a terminal or if --color says so.
fn show(diagnostics: &Diagnostics) {
    if !diagnostics.is_empty() {
        // As `note`: without a reader, the exit code still tells.
        let _ = writeln!(anstream::stderr(), "{}\n", diagnostics.to_string_colored());
    }
}

/// The table of messages, and the plan.
fn explanation(args: &CodegenArgs, schema: &Schema, layout: Layout, plan: &Plan) -> String {
    let messages = schema.messages();
    // A topic can be any text.
    let topics: Vec<_> = messages.iter().map(|message| printable(&message.topic)).collect();
    let width = |texts: &mut dyn Iterator<Item = &str>| {
        texts.map(|text| text.chars().count()).max().unwrap_or_default().clamp(7, MAX_WIDTH)
    };
    let topic_width = width(&mut topics.iter().map(String::as_str));
    let name_width = width(&mut messages.iter().map(|message| message.name.as_str()));
    let classes = plan.classes().iter();
    let classes: BTreeMap<&str, usize> =
        classes.flat_map(|class| class.messages.iter().map(|message| (&*message.name, class.size))).collect();

    let plural = if messages.len() == 1 { "" } else { "s" };
    let mut lines = vec![
        format!(
            "{}: {} message{plural}, {} dialect, {layout} layout",
            printable(&args.contracts.to_string_lossy()),
            messages.len(),
            schema.dialect()
        ),
        format!("SHA-256 {}", schema.digest().iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        String::new(),
        format!(
            "{:>7}  {:<topic_width$}  {:<name_width$}  {:>8}  {:>8}  {:>8}  {:>6}",
            "type id", "topic", "message", "packed", "repr(C)", "class", "unused"
        ),
    ];
    for (message, topic) in messages.iter().zip(&topics) {
        let [packed, repr_c, size] =
            [Layout::Packed, Layout::ReprC, layout].map(|layout| message.layout(layout).size);
        let class = classes.get(&*message.name).copied().unwrap_or(size);
        let unused = 100.0 * (class - size) as f64 / class.max(1) as f64;
        lines.push(format!(
            "{:>7}  {topic:<topic_width$}  {:<name_width$}  {packed:>8}  {repr_c:>8}  {class:>8}  {unused:>5.1}%",
            message.type_id, message.name
        ));
    }
    lines.push(format!("\n{plan}\n"));
    let fields = messages.iter().flat_map(|message| message.fields.iter().map(move |field| (message, field)));
    let unchecked: Vec<_> = fields
        .flat_map(|(message, field)| {
            field.constraints.other.iter().map(|(constraint, value)| {
                printable(&format!("  {}.{} {constraint}: {value}", message.name, field.name))
            })
        })
        .collect();
    if !unchecked.is_empty() {
        lines.push(format!("constraints that only the application can check:\n{}\n", unchecked.join("\n")));
    }
    lines.join("\n")
}

/// Replaces control characters, characters that change the direction of text, and characters that XML does not allow.
fn printable(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    text.replace(hidden, "\u{fffd}")
}

/// Writes a file if it changes by more than line ends, or with --check only compares it. Returns whether the file is up to
/// date: whether it has this text or `or_text`. For stdout, returns whether it was read.
fn deliver(
    args: &CodegenArgs,
    path: &Path,
    text: &str,
    or_text: Option<&str>,
) -> Result<bool, Box<dyn Error>> {
    let shown = printable(&lossy(path));
    if is_std(path) {
        return Ok(output(text)?);
    }
    // Reading a terminal, for example, would not end.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(format!("cannot write {shown}: it exists and is not a file").into());
    }
    if path.is_symlink() && !path.exists() {
        return Err(format!("cannot write {shown}: it is a link to a file that does not exist").into());
    }
    let before = match fs::read(path) {
        Ok(before) if [Some(text), or_text].into_iter().flatten().any(|text| is_equal(&before, text)) => {
            return Ok(true);
        }
        Ok(before) => Some(before),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(format!("cannot read {shown}: {error}").into()),
    };
    if args.check {
        let what = before.map_or_else(|| "missing".to_owned(), |before| difference(&before, text));
        note(format!("millpond: {shown} is {what}\nregenerate it with: {}", command(args, true)));
        return Ok(false);
    }
    write(path, text).map_err(|error| format!("cannot write {shown}: {error}"))?;
    note(format!("wrote {shown}"));
    Ok(true)
}

/// Whether the file has the text, but for CRLF instead of LF.
fn is_equal(before: &[u8], text: &str) -> bool {
    let lines = before.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.eq(text.as_bytes().split(|&byte| byte == b'\n'))
}

/// The first line that differs.
fn difference(before: &[u8], text: &str) -> String {
    let before = String::from_utf8_lossy(before);
    // The shorter text is continued with `None`.
    let lines = before.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let lines = lines.map(Some).chain(iter::repeat(None));
    let wanted = text.split('\n').map(Some).chain(iter::repeat(None));
    let first = (1..).zip(lines.zip(wanted)).find(|(_, (line, wanted))| line != wanted);
    let (number, (line, wanted)) = first.unwrap_or_default();
    let shown = |line: Option<&str>| -> String {
        printable(line.unwrap_or("(the end)")).chars().take(MAX_SHOWN).collect()
    };
    format!("stale from line {number}:\n- {}\n+ {}", shown(line), shown(wanted))
}

/// The command that writes the same files. The head of the code shows it without the plot.
fn command(args: &CodegenArgs, with_plot: bool) -> String {
    let mut words = vec!["millpond".to_owned(), "codegen".to_owned(), argument(&args.contracts)];
    let mut option = |name: &str, value: Option<String>| {
        words.push(name.to_owned());
        words.extend(value);
    };
    if let Some(output) = &args.output {
        option("-o", Some(argument(output)));
    }
    if let LayoutArg::Packed = args.layout {
        option("--layout", Some("packed".to_owned()));
    }
    if args.strict_padding {
        option("--strict-padding", None);
    }
    match args.dialect {
        DialectArg::Auto => {}
        DialectArg::Map => option("--dialect", Some("map".to_owned())),
        DialectArg::List => option("--dialect", Some("list".to_owned())),
    }
    if let Some(limit) = args.memory_limit {
        let counts: Vec<_> = args.traffic.iter().map(|(name, count)| format!("{name}={count}")).collect();
        option("--traffic", Some(counts.join(",")));
        option("--memory-limit", Some(limit.as_u64().to_string()));
    }
    if args.serde {
        option("--serde", None);
    }
    if let Some(plot) = args.plot.as_ref().filter(|_| with_plot) {
        option("--plot", Some(argument(plot)));
    }
    // It only refuses NUL, which no argument contains.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default()
}

fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A path as an argument that is not taken for an option.
fn argument(path: &Path) -> String {
    let path = lossy(path);
    if path.starts_with('-') && path != "-" { format!("./{path}") } else { path }
}

/// Writes atomically, so that nobody reads half a file. Follows a link.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = fs::metadata(&path).map(|metadata| metadata.permissions());
    let mut file = tempfile::Builder::new()
        .prefix(".millpond-")
        .permissions(Permissions::from_mode(0o666)) // as any new file, reduced by the umask
        .tempfile_in(folder_of(&path))?;
    if let Ok(permissions) = before {
        file.as_file().set_permissions(permissions)?;
    }
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
