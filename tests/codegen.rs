//! `millpond codegen`: what it prints and writes, what it leaves alone, and how it fails.

use std::fs;
use std::io::pipe;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const CLASSES: &str = "\
contracts.yaml: 3 messages, map dialect, repr(C) layout
SHA-256 247f6ccf85136705727cabc7ba30d4329a2a194fc431e45f157dc1ccc473d1ea

type id  topic     message           packed   repr(C)     class  unused
   1001  examples  TextMessage          312       312       512   39.1%
   1002  examples  CounterUpdate         16        16       128   87.5%
   1003  examples  BatchOperation       220       224       256   12.5%

     class  capacity    idle bytes  unused  messages
       128       512         65536   87.5%  CounterUpdate 16
       256       256         65536   12.5%  BatchOperation 224
       512       128         65536   39.1%  TextMessage 312
                            196608  in all
";

const BROKEN: &str = "\
messages:
  Text:
    tlv_type: 1001
    domain: Chat
    fields:
      content: {type: Strin}
      2nd: {type: u8}
";

/// A folder with `contracts.yaml` in it, in which the command runs.
struct Folder(TempDir);

impl Folder {
    fn with(contracts: impl AsRef<[u8]>) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.path("contracts.yaml"), contracts).unwrap();
        folder
    }

    fn with_example(name: &str) -> Self {
        Self::with(example(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// `millpond codegen contracts.yaml` with these arguments.
    fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_on("contracts.yaml", arguments)
    }

    fn run_on(&self, contracts: &str, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.current_dir(&self.0).env_remove("NO_COLOR").arg("codegen").arg(contracts).args(arguments);
        Outcome::of(command.output().unwrap())
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn example(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts").join(name)).unwrap()
}

#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    fn assert(self, code: i32, said: &str) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.contains(said), "{said:?} is not in: {}", self.stderr);
        self
    }
}

#[test]
fn the_explanation_shows_sizes_classes_and_waste() {
    let folder = Folder::with_example("examples.yaml");
    let explained = folder.run(&["--explain"]).assert(0, "");
    assert_eq!((explained.stdout.as_str(), explained.stderr.as_str()), (CLASSES, ""));
    let unchecked = Folder::with_example("defi.yaml").run(&["--explain"]).assert(0, "").stdout;
    let constraints =
        "application can check:\n  InstrumentMeta.symbol no_0x_prefix: true\n  InstrumentMeta.chain";
    assert!(unchecked.contains(constraints), "{unchecked}");
    let packed = folder.run(&["--explain", "--layout", "packed"]).assert(0, "").stdout;
    assert!(packed.contains("packed layout"), "{packed}");
    assert!(packed.contains("14.1%  BatchOperation 220"), "{packed}");
    assert_eq!(folder.files(), ["contracts.yaml"]);
}

#[test]
fn the_plot_is_xml_and_names_every_message() {
    for (example, names) in [
        ("examples.yaml", &["TextMessage", "CounterUpdate", "BatchOperation"][..]),
        ("defi.yaml", &["InstrumentMeta", "PoolStateUpdate", "ArbitrageSignal"]),
        ("game.yaml", &["PlayerLogin", "PlayerPosition", "GameState", "ChatMessage", "ItemTransaction"]),
    ] {
        let folder = Folder::with_example(example);
        folder.run(&["--plot", "classes.svg"]).assert(0, "wrote classes.svg");
        let texts = texts_of(&folder.read("classes.svg"));
        assert!(texts.iter().any(|text| text.contains("contracts.yaml")), "{texts:?}");
        for name in names {
            assert_eq!(texts.iter().filter(|text| text == name).count(), 1, "{name}: {texts:?}");
        }
        assert_eq!(folder.run(&["--plot", "-"]).assert(0, "").stdout, folder.read("classes.svg"));
        folder.run(&["--plot", "classes.svg", "--check"]).assert(0, "");
        folder
            .run(&["--plot", "classes.svg", "--check", "--layout", "packed"])
            .assert(1, "classes.svg is stale from line 4:");
    }
}

fn texts_of(svg: &str) -> Vec<String> {
    let tree = roxmltree::Document::parse(svg).unwrap();
    assert_eq!(tree.root_element().tag_name().name(), "svg");
    let texts = tree.descendants().filter(|node| node.has_tag_name("text"));
    texts.map(|node| node.text().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn contracts_that_are_wrong_are_shown_at_the_place() {
    let folder = Folder::with(BROKEN);
    let outcome = folder.run(&["--explain", "--plot", "classes.svg"]).assert(1, "contracts.yaml:6:23");
    assert!(outcome.stderr.contains("content: {type: Strin}"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("`2nd` is not an identifier"), "the second error: {}", outcome.stderr);
    assert!(!outcome.stderr.contains('\u{1b}'), "colours without a terminal: {}", outcome.stderr);
    assert_eq!((outcome.stdout.as_str(), folder.files()), ("", vec!["contracts.yaml".to_owned()]));

    folder.run(&["--explain", "--color", "always"]).assert(1, "\u{1b}[");
}

#[test]
fn warnings_do_not_stop_it() {
    let folder = Folder::with("messages: {M: {tlv_type: 1, fields: {}}}");
    let outcome = folder.run(&["--explain"]).assert(0, "`domain` is missing");
    assert!(outcome.stdout.contains("default"), "{}", outcome.stdout);
}

#[test]
fn the_dialect_can_be_demanded() {
    for (name, is, is_not) in [("examples.yaml", "map", "list"), ("examples-list.yaml", "list", "map")] {
        let folder = Folder::with_example(name);
        let explained = folder.run(&["--explain", "--dialect", is]).assert(0, "").stdout;
        assert!(explained.contains(&format!("3 messages, {is} dialect")), "{explained}");
        folder.run(&["--explain", "--dialect", is_not]).assert(1, "contracts.yaml:");
    }
}

#[test]
fn a_wrong_option_is_named_with_what_fits() {
    let folder = Folder::with_example("examples.yaml");
    for (arguments, advice) in [
        (&["--layout", "c"][..], "packed, repr-c"),
        (&["--dialect", "json"], "auto, map, list"),
        (&["--check"], "--output"),
        (&["--explian"], "a similar argument exists: '--explain'"),
    ] {
        folder.run(arguments).assert(2, advice);
    }
}

#[test]
fn options_that_do_not_fit_together_are_told_in_a_line() {
    let folder = Folder::with_example("examples.yaml");
    for (arguments, advice) in [
        (&["--check", "-o", "-"][..], "--check compares files"),
        (&["--explain", "-o", "-"], "only one of"),
        (&["-o", "-", "--plot", "-"], "only one of"),
        (&["-o", "./contracts.yaml"], "overwrite the contract file"),
        (&["--plot", "contracts.yaml"], "overwrite the contract file"),
        (&["-o", "messages", "--plot", "messages"], "same file"),
        (&["-o", "messages", "--plot", "./messages"], "same file"),
    ] {
        let outcome = folder.run(arguments).assert(2, advice);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{arguments:?}");
    }
    assert_eq!(folder.files(), ["contracts.yaml"]);
    assert_eq!(folder.read("contracts.yaml").as_bytes(), example("examples.yaml"));
}

#[test]
fn a_file_that_cannot_be_read_or_written_is_named() {
    let folder = Folder::with_example("examples.yaml");
    for (contracts, advice) in [
        ("nowhere.yaml", "cannot read nowhere.yaml: No such file"),
        (".", "cannot read .: Is a directory"),
        ("/dev/zero", "/dev/zero has 2 MiB or more: contracts have at most 1 MiB"),
        ("\u{1b}[31m", "cannot read \u{fffd}[31m: No such file"),
    ] {
        folder.run_on(contracts, &["--explain"]).assert(1, advice);
    }
    for (plot, advice) in [
        ("nowhere/classes.svg", "cannot write nowhere/classes.svg: No such file"),
        ("/proc/classes.svg", "cannot write /proc/classes.svg: "),
        (".", "cannot write .: "),
        ("/dev/stdout", "cannot write /dev/stdout: "),
        ("dangling", "cannot write dangling: it is a link to a file that does not exist"),
    ] {
        symlink("nowhere", folder.path("dangling")).unwrap();
        folder.run(&["--plot", plot]).assert(1, advice);
        assert!(folder.path("dangling").is_symlink());
        fs::remove_file(folder.path("dangling")).unwrap();
    }
    folder.run(&["-o", "no/x.rs", "--plot", "nor/y.svg"]).assert(1, "cannot write no/x.rs: No such file");
    assert_eq!(folder.files(), ["contracts.yaml"]);
}

#[test]
fn contracts_may_come_from_stdin() {
    let folder = Folder::with_example("examples.yaml");
    let shell = |options: &str| {
        let line = format!("{} codegen - {options} < contracts.yaml", env!("CARGO_BIN_EXE_millpond"));
        Outcome::of(Command::new("sh").args(["-c", &line]).current_dir(&folder.0).output().unwrap())
    };
    let explained = shell("--explain").assert(0, "").stdout;
    assert_eq!(explained, CLASSES.replace("contracts.yaml:", "-:"));
    shell("-o generated.rs").assert(0, "wrote generated.rs");
    assert!(shell("-o -").assert(0, "").stdout.contains("pub struct TextMessage"));
    fs::write(folder.path("contracts.yaml"), BROKEN).unwrap();
    shell("-o generated.rs").assert(1, "-:6:23");
}

/// A pipe whose reader is gone.
fn closed_pipe() -> Stdio {
    pipe().unwrap().1.into()
}

fn full_disk() -> Stdio {
    fs::File::options().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn a_result_that_cannot_be_written_to_stdout_is_a_failure() {
    let folder = Folder::with_example("examples.yaml");
    for arguments in [&[][..], &["--explain"], &["--plot", "-"]] {
        let run = |stdout: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
            command.current_dir(&folder.0).args(["codegen", "contracts.yaml"]).args(arguments);
            Outcome::of(
                command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap(),
            )
        };
        run(full_disk()).assert(1, "cannot write to stdout: No space left on device");
        // Its reader, such as `head`, knows.
        assert_eq!(run(closed_pipe()).assert(1, "").stderr, "");
    }
}

#[test]
fn a_diagnostic_that_cannot_be_written_does_not_change_the_exit_code() {
    for (contracts, arguments, code) in [
        (BROKEN.as_bytes(), &["--explain"][..], 1),
        (&example("examples.yaml"), &["-o", "fresh.rs"], 0),
        (&example("examples.yaml"), &["-o", "stale.rs", "--check"], 1),
        (&example("examples.yaml"), &["-o", "contracts.yaml"], 2),
        (&example("examples.yaml"), &["--memory-limit", "1B", "--traffic", "Ping=1"], 2),
        (&example("examples.yaml"), &["-o", "/proc/code.rs"], 1),
    ] {
        for stderr in [closed_pipe, full_disk] {
            let folder = Folder::with(contracts);
            fs::write(folder.path("stale.rs"), "stale").unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
            command.current_dir(&folder.0).args(["codegen", "contracts.yaml"]).args(arguments);
            let status = command.stdout(Stdio::null()).stderr(stderr()).status().unwrap();
            assert_eq!(status.code(), Some(code), "{arguments:?}");
        }
    }
}

/// Inputs that take parsers long: files of 10 MB, and files of the largest size that is read. The limits are 100 MB of
/// memory and, because nothing here is optimised, 10 s of CPU.
#[test]
fn hostile_contracts_end_within_their_bounds() {
    let bomb = |levels: usize| {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..levels {
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", "));
        }
        bomb
    };
    let fill = |piece: &str, bytes: usize| piece.repeat(bytes / piece.len());
    let of_fields = |field: &str| {
        let head = "messages:\n  M:\n    tlv_type: 1\n    fields:\n";
        let fields: Vec<_> =
            (0..1_000_000 / (field.len() + 14)).map(|n| format!("      f{n:x}: {field}\n")).collect();
        format!("{head}{}      last: u8", fields.concat())
    };
    for (hostile, said) in [
        (fill("messages: {M: {tlv_type: 1}}\n", 10_000_000), "2 MiB or more"),
        (fill("[", 10_000_000), "2 MiB or more"),
        (fill("a: &a [*a, *a]\n", 1_500_000), "contracts have at most 1048576"),
        (bomb(1000), "anchors are not allowed"),
        (fill("- a\n", 1_000_000), "more than 200000 values"),
        (fill("[\n", 1_000_000), "recursion limit exceeded"),
        (fill("{a: \n", 1_000_000), "recursion limit exceeded"),
        (format!("messages: {{{}}}", fill("a: b,\n", 500_000)), "is given twice"),
        (of_fields("{type: FixedVx}"), " more\n"),
        (of_fields("{type: u8, validation: [max_aaaa: 1]}"), "contracts.yaml"),
    ] {
        let folder = Folder::with(&hostile);
        let limits = "ulimit -v 100000; ulimit -t 10; exec \"$0\" codegen contracts.yaml --explain";
        let mut run = Command::new("sh");
        run.args(["-c", limits, env!("CARGO_BIN_EXE_millpond")]).current_dir(&folder.0);
        Outcome::of(run.output().unwrap()).assert(1, said);
    }
}

#[test]
fn names_cannot_send_control_characters_to_the_terminal_or_the_plot() {
    let hostile =
        "messages: {M: {tlv_type: 1, domain: \"a\\e[31m\\x07\u{202e}</text><script>\", fields: {}}}";
    let folder = Folder::with(hostile);
    let name = "\u{1b}[2J<&\"';$(x) \n.yaml";
    fs::rename(folder.path("contracts.yaml"), folder.path(name)).unwrap();
    let outcome = folder.run_on(name, &["--explain", "--plot", "classes.svg"]).assert(0, "");
    let hidden = outcome.stdout.contains(['\u{1b}', '\u{7}', '\u{202e}']);
    assert!(!hidden, "{:?}", outcome.stdout);
    let texts = texts_of(&folder.read("classes.svg"));
    assert!(texts[0].contains("<&\"';$(x)"), "{texts:?}");

    let long =
        format!("messages: {{M: {{tlv_type: 1, fields: {{}}, domain: \"{}\"}}}}", "long\n\n".repeat(20_000));
    Folder::with(long).run(&["--explain"]).assert(0, "");

    // What refreshes it can be pasted into a shell.
    fs::write(folder.path("classes.svg"), "old").unwrap();
    let stale = folder.run_on(name, &["--plot", "classes.svg", "--check"]).assert(1, "regenerate it with: ");
    let (_, command) = stale.stderr.split_once("regenerate it with: millpond ").unwrap();
    let shell = format!("{} {command}", env!("CARGO_BIN_EXE_millpond"));
    let pasted = Command::new("sh").args(["-c", &shell]).current_dir(&folder.0).output();
    Outcome::of(pasted.unwrap()).assert(0, "wrote classes.svg");
    folder.run_on(name, &["--plot", "classes.svg", "--check"]).assert(0, "");
}

#[test]
fn code_goes_to_a_file_or_to_stdout() {
    for (name, dialect) in [("examples.yaml", "map"), ("examples-list.yaml", "list")] {
        for (layout, batch) in [("repr-c", 224), ("packed", 220)] {
            let folder = Folder::with_example(name);
            let options = ["--layout", layout, "--dialect", dialect];
            let to_file = [&options[..], &["-o", "generated.rs"]].concat();
            assert_eq!(folder.run(&to_file).assert(0, "wrote generated.rs").stdout, "");
            let code = folder.read("generated.rs");
            for part in [
                "pub fn create_buffer_pool_config()",
                "pub const SCHEMA_DIGEST:",
                "pub const TEXT_MESSAGE_BUFFER_CLASS: usize = 512;",
                &format!("pub const BATCH_OPERATION_MAX_SIZE: usize = {batch};"),
            ] {
                assert!(code.contains(part), "{part:?} is not in: {code}");
            }
            // But for the head, which names the command.
            let body = |code: &str| code.split_once("\nuse ").unwrap().1.to_owned();
            for to_stdout in [&options[..], &[&options[..], &["-o", "-"]].concat()] {
                assert_eq!(body(&folder.run(to_stdout).assert(0, "").stdout), body(&code));
            }
            assert_eq!(folder.files(), ["contracts.yaml", "generated.rs"]);
        }
    }
}

#[test]
fn the_pool_may_be_planned_by_traffic() {
    let folder = Folder::with_example("examples.yaml");
    let traffic = ["--traffic", "TextMessage=10,CounterUpdate=1000", "--memory-limit", "100kB"];
    let explained = folder.run(&[&traffic[..], &["--explain", "-o", "generated.rs"]].concat()).assert(0, "");
    assert!(
        explained.stdout.contains("128       760         97280   87.5%  CounterUpdate 16 x 1000"),
        "{explained:?}"
    );
    let code = folder.read("generated.rs");
    for part in [
        "--traffic 'TextMessage=10,CounterUpdate=1000' --memory-limit 100000\n",
        "let classes = [(128, 760), (224, 1), (312, 8)];\n",
        "builder.classes(classes).memory_limit(100000);\n",
        "pub const TEXT_MESSAGE_BUFFER_CLASS: usize = 312;\n",
    ] {
        assert!(code.contains(part), "{part:?} is not in: {code}");
    }
    for (arguments, advice) in [
        (&["--traffic", "TextMessage=10"][..], "--memory-limit"),
        (&["--memory-limit", "1MiB"], "--traffic"),
        (&["--traffic", "Text=1", "--memory-limit", "1MiB"], "there is no message Text"),
        (&["--traffic", "TextMessage", "--memory-limit", "1MiB"], "as in Ping=1000"),
        (&["--traffic", "TextMessage=x", "--memory-limit", "1MiB"], "write a number, not x"),
        (&["--traffic", "TextMessage=1,TextMessage=2", "--memory-limit", "1MiB"], "is given twice"),
        (
            &["--traffic", "TextMessage=1", "--memory-limit", "9"],
            "takes 664 bytes, more than the memory limit of 9",
        ),
    ] {
        folder.run(&[arguments, &["--explain"]].concat()).assert(2, advice);
    }
}

#[test]
fn the_head_of_the_code_is_the_command_that_writes_it() {
    let folder = Folder::with_example("game.yaml");
    folder
        .run(&["--serde", "-o", "my code.rs", "--layout=packed", "--strict-padding", "--explain"])
        .assert(0, "");
    let code = folder.read("my code.rs");
    let command = "millpond codegen contracts.yaml -o 'my code.rs' --layout packed --strict-padding --serde";
    assert!(code.lines().any(|line| line == format!("//     {command}")), "{code}");
    let arguments = ["-o", "my code.rs", "--layout", "packed", "--strict-padding", "--serde", "--check"];
    folder.run(&arguments).assert(0, "");

    folder.run(&["-o=-x.rs"]).assert(0, "wrote -x.rs");
    let command = "//     millpond codegen contracts.yaml -o ./-x.rs";
    assert!(folder.read("-x.rs").lines().any(|line| line == command));
}

#[test]
fn check_tells_fresh_from_stale_and_missing_and_writes_nothing() {
    let folder = Folder::with_example("examples.yaml");
    let check = || folder.run(&["-o", "generated.rs", "--check"]);
    let refresh = "regenerate it with: millpond codegen contracts.yaml -o generated.rs\n";
    check().assert(1, "generated.rs is missing").assert(1, refresh);
    assert_eq!(folder.files(), ["contracts.yaml"]);

    folder.run(&["-o", "generated.rs"]).assert(0, "");
    let fresh = check().assert(0, "");
    assert_eq!((fresh.stdout.as_str(), fresh.stderr.as_str()), ("", ""));

    let code = folder.read("generated.rs");
    for (stale, difference) in [
        (code.replace("1001", "1002"), "- const TYPE_ID: u16 = 1002;\n+ const TYPE_ID: u16 = 1001;\n"),
        (format!("{code}\n"), "\n- \n+ (the end)\n"),
        (String::new(), "stale from line 1:\n- \n+ // Generated from contracts.yaml"),
        // In a file with CRLF, only the line that is another one.
        (
            code.replace("1001", "1002").replace('\n', "\r\n"),
            "- const TYPE_ID: u16 = 1002;\n+ const TYPE_ID: u16 = 1001;\n",
        ),
    ] {
        fs::write(folder.path("generated.rs"), &stale).unwrap();
        let said = check().assert(1, refresh).stderr.replace("-     const", "- const");
        assert!(
            said.replace("+     const", "+ const").contains(difference),
            "{difference:?} is not in: {said}"
        );
        assert_eq!(folder.read("generated.rs"), stale);
    }
}

/// As git makes them of files with LF, if it is told to (`core.autocrlf`).
#[test]
fn files_with_crlf_are_as_fresh_as_those_with_lf() {
    let folder = Folder::with_example("examples.yaml");
    let run = |check: &[&str]| folder.run(&[&["-o", "generated.rs", "--plot", "x.svg"], check].concat());
    run(&[]).assert(0, "wrote generated.rs");
    let crlf = |file: &str| {
        let with_crlf = folder.read(file).replace('\n', "\r\n");
        fs::write(folder.path(file), &with_crlf).unwrap();
        with_crlf
    };
    let [code, _] = ["generated.rs", "x.svg"].map(crlf);
    assert_eq!(run(&["--check"]).assert(0, "").stderr, "");
    assert_eq!(run(&[]).assert(0, "").stderr, "", "files that are fresh were written");
    assert_eq!(folder.read("generated.rs"), code);

    // The code has the digest of the contracts with LF.
    crlf("contracts.yaml");
    assert_eq!(run(&["--check"]).assert(0, "").stderr, "");
    // Another contract is one with any line ends.
    let contracts = folder.read("contracts.yaml").replace("1001", "1009");
    fs::write(folder.path("contracts.yaml"), contracts).unwrap();
    run(&["--check"]).assert(1, "generated.rs is stale from line ");
}

#[test]
fn only_a_file_that_changes_is_written_and_it_keeps_its_place_and_mode() {
    let folder = Folder::with_example("examples.yaml");
    let run = || folder.run(&["-o", "link.rs"]);
    fs::write(folder.path("generated.rs"), "old").unwrap();
    fs::set_permissions(folder.path("generated.rs"), fs::Permissions::from_mode(0o664)).unwrap();
    symlink("generated.rs", folder.path("link.rs")).unwrap();
    let metadata = || fs::metadata(folder.path("generated.rs")).unwrap();
    let old = metadata().ino();
    run().assert(0, "wrote link.rs");
    assert_ne!(metadata().ino(), old, "written in place, so that a reader may see half of it");
    let (written, inode) = (metadata().modified().unwrap(), metadata().ino());
    assert!(folder.path("link.rs").is_symlink());
    assert_eq!((metadata().mode() & 0o777, folder.read("generated.rs").starts_with("//")), (0o664, true));

    assert_eq!(run().assert(0, "").stderr, "");
    assert_eq!((metadata().modified().unwrap(), metadata().ino()), (written, inode));
    assert_eq!(folder.files(), ["contracts.yaml", "generated.rs", "link.rs"]);

    // Contracts that are wrong leave what was there.
    fs::write(folder.path("contracts.yaml"), BROKEN).unwrap();
    run().assert(1, "contracts.yaml:6:23");
    assert_eq!(metadata().ino(), inode);
}

#[test]
fn the_example_and_the_demo_are_fresh() {
    for command in [
        "codegen examples/contract/contracts.yaml -o examples/contract/generated.rs --check",
        "codegen examples/demo/contracts.yaml -o examples/demo/messages.rs --check \
         --traffic Tick=3,Trade=2,Order=1,Book=1,Snapshot=1 --memory-limit 16MiB",
    ] {
        let check = Command::new(env!("CARGO_BIN_EXE_millpond"))
            .args(command.split_whitespace())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        Outcome::of(check.unwrap()).assert(0, "");
    }
}

#[test]
fn the_guide_shows_the_example_and_what_is_printed() {
    let read = |path| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (contracts, main) = (read("examples/contract/contracts.yaml"), read("examples/contract/main.rs"));
    let explained = Folder::with(&contracts).run(&["--explain"]).assert(0, "").stdout;
    let (_, main) = main.split_once("#[tokio::main]").unwrap();
    let guide = read("src/schema/guide.md");
    for part in [&contracts, main, &explained] {
        assert!(guide.contains(part), "not in the guide: {part}");
    }
}
