//! The house keeps its order: a folder of `src` is a layer, imports go down only and through the layer's
//! `mod.rs`, and nobody but `sync` names the primitives that loom replaces.
//!
//! The sources are read as tokens, so comments, strings and doc text never count, and a path counts wherever
//! it stands: in a nested `use`, in the middle of an expression, in a macro.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Each layer, and what it may import beside `sync`.
const LAYERS: &[(&str, &[&str])] = &[
    ("sync", &[]),
    ("size", &[]),
    ("metric", &[]),
    ("pool", &["size", "metric"]),
    ("frame", &["size", "pool"]),
    ("schema", &["size", "pool", "frame"]),
    ("policy", &["metric"]),
    ("net", &["size", "pool", "frame", "policy"]),
    ("bus", &["size", "metric", "pool", "frame", "net"]),
    ("relay", &["size", "metric", "policy", "pool", "net"]),
    ("connection", &["size", "metric", "pool", "frame", "policy", "net"]),
    ("resilience", &["metric", "policy", "connection"]),
    ("observe", &["metric", "pool", "frame", "policy", "net", "bus", "relay", "connection", "resilience"]),
    ("bin", &[]),
];

/// What may lie beside the crate's manifest, and files that start with a dot.
const TOP_LEVEL: &[&str] = &[
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig", // in a packaged crate
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "benches",
    "examples",
    "fuzz",
    "loom-tests",
    "src",
    "target",
    "tests",
];

/// The only files of the library with unsafe code, and the only one of the command. Each says why it has to.
const UNSAFE: &[&str] =
    &["src/pool/handle/buf_mut.rs", "src/connection/core/slots.rs", "src/bin/millpond/memory.rs"];

const MAX_LINES: usize = 600;
const NAMELESS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// A tree of sources: path from the crate's root, text.
type Tree = BTreeMap<String, String>;

#[test]
fn the_house_keeps_its_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tree = Tree::new();
    read_sources(root, root, &mut tree);
    assert!(tree.len() > 20, "only {} sources found", tree.len());
    let mut found = violations(&tree);
    found.extend(strangers(
        fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()),
    ));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn read_sources(root: &Path, folder: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap();
        if entry.is_dir() {
            if !name.starts_with('.') && !["target", "vendor", "corpus", "artifacts"].contains(&name) {
                read_sources(root, &entry, tree);
            }
        } else if name.ends_with(".rs") {
            let path = entry.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            tree.insert(path, fs::read_to_string(&entry).unwrap());
        }
    }
}

fn strangers(top_level: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    top_level
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()))
        .map(|name| format!("{name}: the top level has no room for it"))
}

fn violations(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree {
        let nameless = |part: &str| NAMELESS.contains(&part.trim_end_matches(".rs"));
        if path.split('/').any(nameless) {
            found.push(format!("{path}: the name says nothing; name the thing"));
        }
        let Some(inner) = path.strip_prefix("src/") else { continue };
        let opens = ["//!", "#![doc"].iter().any(|opening| text.starts_with(opening));
        if !opens {
            found.push(format!("{path}: the first line does not say what the file is; open it with `//!`"));
        }
        if text.lines().count() > MAX_LINES {
            found.push(format!("{path}: more than {MAX_LINES} lines"));
        }
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        if inner == "lib.rs" && !compact(tokens.clone()).contains("#![deny(unsafe_code)]") {
            found.push(format!("{path}: #![deny(unsafe_code)] is missing"));
        }
        // `deny` can be lifted where `forbid` cannot, so the lint's name may not stand in any other file either.
        let is_unsafe = names_word(tokens.clone(), "unsafe")
            || (inner != "lib.rs" && names_word(tokens.clone(), "unsafe_code"));
        if is_unsafe && !UNSAFE.contains(&path.as_str()) {
            found.push(format!("{path}: unsafe code belongs to {} only", UNSAFE.join(", ")));
        }
        let module = module_of(inner);
        match module.first() {
            Some(layer) if !inner.contains('/') => {
                found.push(format!("{path}: a layer is a folder; make it src/{layer}/mod.rs"));
            }
            Some(layer) if !LAYERS.iter().any(|(name, _)| name == layer) => {
                found.push(format!("{path}: {layer} is no layer; see LAYERS in tests/layering.rs"));
            }
            _ => {}
        }
        if module.first().is_none_or(|layer| layer != "bin") {
            let names = Names::read(tokens, module);
            found.extend(names.paths.iter().filter_map(|name| {
                let why = names.misplaced(name, tree)?;
                Some(format!("{path}:{}: {} {why}", name.line, name.path.join("::")))
            }));
        } else if compact(tokens).contains("#[path=") {
            found.push(format!("{path}: #[path] in the command would go round the public API"));
        }
    }
    found.extend(circles(tree));
    found
}

/// The files and folders of a layer are its rooms. Says which of them import each other, directly or around.
///
/// The layer's `mod.rs` is its door and no room; neither are tests, which look at everything. The files of one room
/// may know each other: a slot points to its pool, whose queues hold slots.
fn circles(tree: &Tree) -> Vec<String> {
    let mut rooms: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (path, text) in tree {
        let Some(inner) = path.strip_prefix("src/") else { continue };
        let file = module_of(inner);
        if file.is_empty() || file[0] == "bin" || file.iter().any(|part| part == "tests") {
            continue;
        }
        let imported = Names::read(text.parse().unwrap_or_default(), file.clone()).paths;
        for name in imported.iter().filter(|name| name.path[0] == "crate" && !name.in_tests) {
            let (Some(from), [_, layer, to, ..]) = (file.get(1), &name.path[..]) else { continue };
            let is_room = [format!("src/{layer}/{to}.rs"), format!("src/{layer}/{to}/mod.rs")];
            if *layer == file[0] && from != to && is_room.iter().any(|room| tree.contains_key(room)) {
                rooms.entry(layer.clone()).or_default().entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    let mut found = Vec::new();
    for (layer, mut imports) in rooms {
        // What imports nothing that is left is no part of a circle.
        while let Some(free) = imports
            .iter()
            .find(|(_, to)| to.iter().all(|to| !imports.contains_key(to)))
            .map(|(room, _)| room.clone())
        {
            imports.remove(&free);
        }
        if !imports.is_empty() {
            let rooms: Vec<_> = imports.keys().map(String::as_str).collect();
            found.push(format!("src/{layer}: {} import each other in a circle", rooms.join(", ")));
        }
    }
    found
}

/// `pool/class.rs` → `[pool, class]`, `pool/mod.rs` → `[pool]`, `lib.rs` → `[]`.
fn module_of(inner: &str) -> Vec<String> {
    let mut parts: Vec<String> = inner.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    parts.pop_if(|last| last == "mod" || last == "lib");
    parts
}

fn compact(tokens: TokenStream) -> String {
    tokens.to_string().split_whitespace().collect()
}

fn names_word(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(name) => name == word,
        TokenTree::Group(group) => names_word(group.stream(), word),
        _ => false,
    })
}

/// A path as a file names it, resolved to `crate::…` where it leads into the crate.
struct Name {
    line: usize,
    path: Vec<String>,
    in_tests: bool,
}

/// All that one file names.
struct Names {
    file: Vec<String>,
    paths: Vec<Name>,
    /// What `use` binds to a path of the crate, so that `use crate::pool;` cannot hide `pool::class::X`.
    bound: BTreeMap<String, Vec<String>>,
}

impl Names {
    fn read(tokens: TokenStream, file: Vec<String>) -> Self {
        let mut names = Self { bound: BTreeMap::new(), file, paths: Vec::new() };
        if names.file.is_empty() {
            let layers = LAYERS.iter().map(|(name, _)| (*name).to_owned());
            names.bound = layers.map(|name| (name.clone(), vec!["crate".to_owned(), name])).collect();
        }
        let module = names.file.clone();
        names.walk(tokens, &module);
        for name in &mut names.paths {
            if let Some(bound) = names.bound.get(&name.path[0]) {
                name.path.splice(..1, bound.iter().cloned());
            }
        }
        names
    }

    fn walk(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at..] {
                [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..]
                    if word == "mod" =>
                {
                    let inner: Vec<_> = module.iter().cloned().chain([name.to_string()]).collect();
                    self.walk(body.stream(), &inner);
                    at += 3;
                }
                [TokenTree::Ident(word), ..] if word == "use" => {
                    at += 1;
                    at += self.path(&tokens[at..], &[], module, true);
                }
                [TokenTree::Ident(_), ..] => at += self.path(&tokens[at..], &[], module, false),
                [TokenTree::Group(group), ..] => {
                    self.walk(group.stream(), module);
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// Reads the path, or tree of paths, at the start of `tokens`; returns how many tokens it took.
    fn path(&mut self, tokens: &[TokenTree], prefix: &[String], module: &[String], binds: bool) -> usize {
        let mut path = prefix.to_vec();
        let (mut at, mut alias, mut line) = (0, None, 0);
        loop {
            match &tokens[at..] {
                [TokenTree::Group(tree), ..] if tree.delimiter() == Delimiter::Brace && (at > 0 || binds) => {
                    let branches: Vec<_> = tree.stream().into_iter().collect();
                    for branch in branches.split(|token| is_punct(token, ',')).filter(|b| !b.is_empty()) {
                        self.path(branch, &path, module, binds);
                    }
                    return at + 1;
                }
                [TokenTree::Ident(word), ..] => {
                    line = word.span().start().line;
                    path.push(word.to_string());
                }
                [star, ..] if is_punct(star, '*') => path.push("*".to_owned()),
                _ => return at,
            }
            at += 1;
            if !is_double_colon(&tokens[at..]) {
                break;
            }
            at += 2;
        }
        if let [TokenTree::Ident(word), TokenTree::Ident(name), ..] = &tokens[at..]
            && word == "as"
            && binds
        {
            alias = Some(name.to_string());
            at += 2;
        }
        // `thread_local!` is the one name that does harm without a path.
        let is_macro = tokens.get(at).is_some_and(|token| is_punct(token, '!'));
        if path.len() == 1 && !binds && !is_macro {
            return at;
        }
        if binds && path.len() > 1 {
            path.pop_if(|last| last == "self");
        }
        let path = resolve(path, module);
        if binds && path[0] == "crate" {
            self.bound.insert(alias.unwrap_or_else(|| path[path.len() - 1].clone()), path.clone());
        }
        self.paths.push(Name { line, path, in_tests: module.iter().any(|part| part == "tests") });
        at
    }

    /// Why this file may not name this, if it may not.
    fn misplaced(&self, name: &Name, tree: &Tree) -> Option<String> {
        let here = self.file.first().map(String::as_str);
        let path: Vec<_> = name.path.iter().map(String::as_str).collect();
        match path[..] {
            ["std" | "core" | "alloc", "sync", ..]
            | ["std", "thread_local", ..]
            | ["thread_local"]
            | ["crossbeam_queue" | "loom" | "triomphe", ..]
                if here != Some("sync") && !name.in_tests =>
            {
                Some("is a primitive; name it through crate::sync".to_owned())
            }
            ["crate", layer, ..] if here == Some(layer) => None,
            ["crate", layer, ..] if LAYERS.iter().any(|(name, _)| *name == layer) => {
                let may =
                    here.and_then(|here| LAYERS.iter().find(|(name, _)| *name == here)).map(|(_, may)| *may);
                match may {
                    Some(may) if layer != "sync" && !may.contains(&layer) => {
                        let may = may.iter().fold("sync".to_owned(), |list, name| list + ", " + name);
                        Some(format!("goes against the order; {} may import {may}", here.unwrap_or_default()))
                    }
                    _ => past_the_door(&path[1..], tree),
                }
            }
            ["crate", ..] if here.is_some() => {
                Some("goes through the crate's root; name the layer".to_owned())
            }
            _ => None,
        }
    }
}

/// A module of another layer counts as part of its door if the door says `pub mod`, or `pub(crate) mod` in
/// a layer that is private itself.
fn past_the_door(path: &[&str], tree: &Tree) -> Option<String> {
    let (layer, module) = (path[0], path.get(1)?);
    let is_file = [format!("src/{layer}/{module}.rs"), format!("src/{layer}/{module}/mod.rs")];
    if !is_file.iter().any(|file| tree.contains_key(file)) {
        return None;
    }
    let declared = |file: &str, what: String| {
        let text = tree.get(file).map_or("", String::as_str);
        compact(text.parse().unwrap_or_default()).contains(&what)
    };
    let door = format!("src/{layer}/mod.rs");
    let open = declared(&door, format!("pubmod{module};"))
        || (declared(&door, format!("pub(crate)mod{module};"))
            && !declared("src/lib.rs", format!("pubmod{layer};")));
    (!open).then(|| format!("reaches past the door, {door}"))
}

fn resolve(path: Vec<String>, module: &[String]) -> Vec<String> {
    let mut base: Vec<_> = ["crate".to_owned()].into_iter().chain(module.iter().cloned()).collect();
    let anchors = path.iter().take_while(|part| matches!(part.as_str(), "crate" | "self" | "super")).count();
    if anchors == 0 {
        return path;
    }
    for anchor in &path[..anchors] {
        match anchor.as_str() {
            "crate" => base.truncate(1),
            "super" => base.truncate(base.len().saturating_sub(1).max(1)),
            _ => {}
        }
    }
    base.extend_from_slice(&path[anchors..]);
    base
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

fn is_double_colon(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [a, b, ..] if is_punct(a, ':') && is_punct(b, ':'))
}

/// A house of two rooms and an open door, with one file more.
fn house_with(path: &str, text: &str) -> Tree {
    let mut tree = Tree::from(
        [
            ("src/lib.rs", "#![deny(unsafe_code)] pub mod frame; pub mod pool; mod size; mod sync;"),
            ("src/frame/mod.rs", "pub mod tlv;"),
            ("src/frame/tlv.rs", "use crate::pool::PooledBuffer;"),
            ("src/pool/mod.rs", "mod class; pub(crate) mod slot; pub use self::class::Class;"),
            ("src/pool/class.rs", "pub struct Class;"),
            ("src/pool/slot.rs", "pub(crate) struct Slot;"),
            ("src/sync/mod.rs", "pub(crate) mod atomic;"),
            ("src/sync/atomic.rs", "pub(crate) use std::sync::atomic::AtomicU64;"),
        ]
        .map(|(path, text)| (path.to_owned(), text.to_owned())),
    );
    tree.insert(path.to_owned(), text.replace('⏎', "\n"));
    // On the same line, so that the lines keep their numbers.
    tree.values_mut().for_each(|text| *text = format!("#![doc = \"\"] {text}"));
    tree
}

/// File | text, `⏎` ends a line | what is said of it.
const WRONG: &str = r#"
src/pool/x.rs  | use crate::frame::Decoder;                 |1: crate::frame::Decoder goes against the order; pool may import sync, size, metric
src/pool/x.rs  | ⏎ use crate::{size, relay::{Relay}};       |2: crate::relay::Relay goes against the order; pool may import sync, size, metric
src/pool/x.rs  | use super::super::frame::tlv as t;         |1: crate::frame::tlv goes against the order; pool may import sync, size, metric
src/pool/x.rs  | fn f() { crate::frame::f(); }              |1: crate::frame::f goes against the order; pool may import sync, size, metric
src/pool/x.rs  | fn f() { vec![crate::frame::F] }           |1: crate::frame::F goes against the order; pool may import sync, size, metric
src/pool/x.rs  | mod m { use super::super::super::frame; }  |1: crate::frame goes against the order; pool may import sync, size, metric
src/pool/x.rs  | macro_rules! m { () => { $crate::frame }}  |1: crate::frame goes against the order; pool may import sync, size, metric
src/pool/x.rs  | impl X<<crate::frame::F as Y>::Z> for W {} |1: crate::frame::F goes against the order; pool may import sync, size, metric
src/pool/x.rs  | use crate::bus::Name;                      |1: crate::bus::Name goes against the order; pool may import sync, size, metric
src/size/x.rs  | use crate::pool;                           |1: crate::pool goes against the order; size may import sync
src/sync/x.rs  | use crate::size::Size;                     |1: crate::size::Size goes against the order; sync may import sync
src/relay/x.rs | use crate::frame::F;                       |1: crate::frame::F goes against the order; relay may import sync, size, metric, policy, pool, net
src/pool/x.rs  | use super::super::*;                       |1: crate::* goes through the crate's root; name the layer
src/pool/x.rs  | use crate::BufferPool;                     |1: crate::BufferPool goes through the crate's root; name the layer
src/frame/x.rs | use crate::pool::slot::Slot;               |1: crate::pool::slot::Slot reaches past the door, src/pool/mod.rs
src/frame/x.rs | use crate::pool; ⏎ type T = pool::class::C;|2: crate::pool::class::C reaches past the door, src/pool/mod.rs
src/frame/x.rs | use crate::{pool as p}; type T = p::slot::S;|1: crate::pool::slot::S reaches past the door, src/pool/mod.rs
src/lib.rs     | #![deny(unsafe_code)] pub mod pool; use pool::slot::S;|1: crate::pool::slot::S reaches past the door, src/pool/mod.rs
src/pool/x.rs  | use std::sync::{Arc};                      |1: std::sync::Arc is a primitive; name it through crate::sync
src/pool/x.rs  | type T = ::core::sync::atomic::AtomicBool; |1: core::sync::atomic::AtomicBool is a primitive; name it through crate::sync
src/pool/x.rs  | use crossbeam_queue::ArrayQueue;           |1: crossbeam_queue::ArrayQueue is a primitive; name it through crate::sync
src/pool/x.rs  | thread_local! { static A: u8 = 0; }        |1: thread_local is a primitive; name it through crate::sync
src/bin/x.rs   | #[path = "../pool/slot.rs"] mod slot;      | #[path] in the command would go round the public API
src/lib.rs     | // #![deny(unsafe_code)] ⏎ #![warn(unsafe_code)] | #![deny(unsafe_code)] is missing
src/lib.rs     | #![deny(unsafe_code)] fn f() { unsafe { g() } } | unsafe code belongs to src/pool/handle/buf_mut.rs, src/connection/core/slots.rs, src/bin/millpond/memory.rs only
src/pool/x.rs  | mod m { unsafe impl Send for X {} }        | unsafe code belongs to src/pool/handle/buf_mut.rs, src/connection/core/slots.rs, src/bin/millpond/memory.rs only
src/pool/x.rs  | #![expect(unsafe_code, reason = "")]       | unsafe code belongs to src/pool/handle/buf_mut.rs, src/connection/core/slots.rs, src/bin/millpond/memory.rs only
src/pool.rs    |                                            | a layer is a folder; make it src/pool/mod.rs
src/cellar/a.rs|                                            | cellar is no layer; see LAYERS in tests/layering.rs
src/pool/util.rs|                                           | the name says nothing; name the thing
tests/common/mod.rs|                                        | the name says nothing; name the thing
"#;

const RIGHT: &str = r#"
src/pool/x.rs     | //! crate::frame::F ⏎ /* crate::frame::F */ const A: &str = "crate::frame::F";
src/pool/x.rs     | use super::class::Class; use super::{slot, Pool}; use crate::pool::slot::Slot;
src/pool/x.rs     | use crate::sync::{atomic::AtomicU64, thread_local}; thread_local! { static A: u8 = 0; }
src/pool/x.rs     | pub(crate) fn f() {} pub(super) fn g() {} pub(in crate::pool) fn h(self) { self.f::<u8>(); }
src/pool/tests.rs | use std::sync::mpsc; thread_local!(static A: u8 = 0);
src/pool/x.rs     | mod tests { use super::*; use std::sync::Arc; }
src/frame/x.rs    | use crate::pool::{self, Class}; fn f() { pool::Class::new(); } use tokio::sync::mpsc;
src/relay/x.rs    | use crate::net; use crate::sync::atomic::AtomicU64;
src/net/x.rs      | use crate::frame::tlv::Decoder; use crate::frame::Class;
src/bin/x.rs      | use crate::pool::class; use std::sync::Arc; use millpond::pool;
src/pool/handle/buf_mut.rs | #![expect(unsafe_code)] unsafe impl Send for X {}
src/pool/x.rs     | //! unsafe ⏎ const A: &str = "unsafe_code"; fn f() { let is_unsafe = 1; }
src/lib.rs        | #![deny(unsafe_code)] pub mod frame; pub use pool::Class; pub use frame::tlv;
"#;

#[test]
fn a_wrong_house_is_told_why() {
    for line in WRONG.lines().skip(1) {
        let [path, text, why] = line.splitn(3, '|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let path = path.trim();
        assert_eq!(violations(&house_with(path, text)), [format!("{path}:{why}")], "{text}");
    }
    let silent = Tree::from([("src/pool/x.rs".to_owned(), "use core::fmt;".to_owned())]);
    assert!(
        violations(&silent)[0].starts_with("src/pool/x.rs: the first line does not say what the file is")
    );
    let mut circle = house_with("src/pool/class.rs", "use super::slot::Slot;");
    circle.insert("src/pool/slot.rs".to_owned(), "//! ⏎ use crate::pool::class::Class;".replace('⏎', "\n"));
    assert_eq!(violations(&circle), ["src/pool: class, slot import each other in a circle"]);
    let long = "⏎".repeat(MAX_LINES + 1);
    assert_eq!(violations(&house_with("src/pool/x.rs", &long)), ["src/pool/x.rs: more than 600 lines"]);
    let top_level = ["src", ".git", "notes.txt"].map(str::to_owned).into_iter();
    assert_eq!(strangers(top_level).collect::<Vec<_>>(), ["notes.txt: the top level has no room for it"]);
}

#[test]
fn a_right_house_is_left_alone() {
    for line in RIGHT.lines().skip(1) {
        let (path, text) = line.split_once('|').unwrap();
        assert_eq!(violations(&house_with(path.trim(), text)), [""; 0], "{text}");
    }
}
