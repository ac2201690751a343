//! Lines of code, broken where rustfmt breaks them if names have at most 38 characters. With longer names the code is
//! valid but not formatted.

/// rustfmt's defaults.
const MAX_WIDTH: usize = 100;
const CALL_WIDTH: usize = 60;
const CHAIN_WIDTH: usize = 60;
const ARRAY_WIDTH: usize = 60;
const SHORT_ELEMENT: usize = 10;
const LITERAL_WIDTH: usize = 18;

/// The code as far as it is written.
#[derive(Default)]
pub(super) struct Code {
    pub(super) text: String,
}

impl Code {
    pub(super) fn line(&mut self, indent: usize, line: &str) {
        if !line.is_empty() {
            self.text.extend(std::iter::repeat_n(' ', indent));
            self.text.push_str(line);
        }
        self.text.push('\n');
    }

    /// `before` and `after` in one line, or in two if that makes them fit.
    pub(super) fn broken(&mut self, indent: usize, before: &str, after: &str) {
        let together = indent + before.len() + 1 + after.chars().count();
        if together <= MAX_WIDTH || indent + 4 + after.chars().count() > MAX_WIDTH {
            self.line(indent, &format!("{before} {after}"));
        } else {
            self.line(indent, before);
            self.line(indent + 4, after);
        }
    }

    /// `impl Trait for Type {`
    pub(super) fn implement(&mut self, what: &str, of: &str) {
        if what.len() + of.len() + 12 <= MAX_WIDTH {
            self.line(0, &format!("impl {what} for {of} {{"));
        } else {
            self.line(0, &format!("impl {what}"));
            self.line(4, &format!("for {of}"));
            self.line(0, "{");
        }
    }

    /// `function(arguments)` and the end of the statement.
    pub(super) fn call(&mut self, indent: usize, function: &str, arguments: &[&str], end: &str) {
        let joined = arguments.join(", ");
        let width = indent + function.len() + joined.len() + 2 + end.len();
        if joined.len() <= CALL_WIDTH && width <= MAX_WIDTH {
            self.line(indent, &format!("{function}({joined}){end}"));
        } else {
            self.line(indent, &format!("{function}("));
            arguments.iter().for_each(|argument| self.line(indent + 4, &format!("{argument},")));
            self.line(indent, &format!("){end}"));
        }
    }

    /// `field: root.link.link,`
    pub(super) fn chain(&mut self, indent: usize, field: &str, root: &str, links: &[&str]) {
        let chain = format!("{root}{}", links.concat());
        // rustfmt reserves one column after the last `?`.
        let width = chain.len() + 1;
        let fits = links.len() == 1 || width <= CHAIN_WIDTH;
        if fits && indent + field.len() + 2 + width + 1 < MAX_WIDTH {
            self.line(indent, &format!("{field}: {chain},"));
        } else {
            self.line(indent, &format!("{field}: {root}"));
            for (index, link) in links.iter().enumerate() {
                let end = if index + 1 == links.len() { "," } else { "" };
                self.line(indent + 4, &format!("{link}{end}"));
            }
        }
    }

    /// `Name { field: value }`
    pub(super) fn literal(&mut self, indent: usize, name: &str, fields: &[String]) {
        let joined = fields.join(", ");
        if joined.len() <= LITERAL_WIDTH {
            self.line(indent, &format!("{name} {{ {joined} }}"));
        } else {
            self.line(indent, &format!("{name} {{"));
            for field in fields {
                if indent + 4 + field.len() < MAX_WIDTH {
                    self.line(indent + 4, &format!("{field},"));
                    continue;
                }
                let call = field.strip_suffix(')').and_then(|field| field.split_once('('));
                match call.filter(|(function, _)| !function.contains('.')) {
                    Some((call, argument)) => {
                        self.line(indent + 4, &format!("{call}("));
                        self.line(indent + 8, &format!("{argument},"));
                        self.line(indent + 4, "),");
                    }
                    // Calls without arguments: one link per line.
                    None => {
                        let mut links = field.split('.');
                        self.line(indent + 4, links.next().unwrap_or_default());
                        let links: Vec<_> = links.collect();
                        for (index, link) in links.iter().enumerate() {
                            let end = if index + 1 == links.len() { "," } else { "" };
                            self.line(indent + 8, &format!(".{link}{end}"));
                        }
                    }
                }
            }
            self.line(indent, "}");
        }
    }

    /// Text of the file as a paragraph of doc comments.
    pub(super) fn doc(&mut self, indent: usize, words: &str) {
        let mut line = String::new();
        for word in words.split_whitespace().map(escaped) {
            if !line.is_empty() && indent + 5 + line.chars().count() + word.chars().count() > MAX_WIDTH {
                self.line(indent, &format!("/// {line}"));
                line.clear();
            }
            if line.is_empty() {
                line = not_a_block(word);
            } else {
                line.push(' ');
                line.push_str(&word);
            }
        }
        if !line.is_empty() {
            self.line(indent, &format!("/// {line}"));
        }
    }
}

/// `before[elements];`
pub(super) fn array(code: &mut Code, indent: usize, before: &str, elements: &[String]) {
    let joined = elements.join(", ");
    if joined.len() <= ARRAY_WIDTH && indent + before.len() + joined.len() + 3 <= MAX_WIDTH {
        return code.line(indent, &format!("{before}[{joined}];"));
    }
    code.line(indent, &format!("{before}["));
    let short = elements.iter().all(|element| element.len() <= SHORT_ELEMENT && !element.starts_with('('));
    let mut line = String::new();
    for element in elements {
        if !line.is_empty() && (!short || indent + 4 + line.len() + 2 + element.len() > MAX_WIDTH) {
            code.line(indent + 4, &line);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(element);
        line.push(',');
    }
    code.line(indent + 4, &line);
    code.line(indent, "];");
}

/// A word that Markdown shows as it is: no link, no HTML, no code fence, which would be compiled, and no URL, which rustdoc
/// wants in angle brackets.
fn escaped(word: &str) -> String {
    let mut escaped = String::new();
    let mut before = ' ';
    let mut rest = word.chars().map(visible).peekable();
    while let Some(c) = rest.next() {
        let within_word = before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        before = c;
        // A colon is markup in URLs only, and an underscore only at the ends of words.
        if matches!(c, '\\' | '`' | '~' | '[' | ']' | '<' | '>' | '*' | '#' | '|' | '&')
            || (c == ':' && word.contains("://"))
            || (c == '_' && !within_word)
        {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A word that begins no list and underlines no heading at the start of a line.
fn not_a_block(word: String) -> String {
    if word.starts_with(['-', '+', '=']) {
        return format!("\\{word}");
    }
    match word.strip_suffix(['.', ')']) {
        Some(digits) if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) => {
            let end = if word.ends_with('.') { "." } else { ")" };
            format!("{digits}\\{end}")
        }
        _ => word,
    }
}

/// Text of the file in a comment of one line.
pub(super) fn comment(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// Replaces characters that end a line or change the direction of text.
fn visible(c: char) -> char {
    let hidden = c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    if hidden { char::REPLACEMENT_CHARACTER } else { c }
}
