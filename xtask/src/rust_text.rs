//! Reading Rust source as text, far enough to see which paths it names.
//!
//! The layer and purity checks need three things of a file: the paths in it, the modules it declares,
//! and none of what exists only for tests. So this splits source into words and signs (comments,
//! strings and lifetimes gone), drops items under a `#[cfg]` that needs `test`, and expands `use`
//! groups. It does not expand macros and does not resolve names; a path spelled out inside a macro call
//! is seen, one that a macro builds is not.

/// A path as written, with groups expanded: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathUse {
    /// Its words; a glob ends with `*`.
    pub(crate) segments: Vec<String>,
    /// Line, from 1.
    pub(crate) line: usize,
    /// Inline modules (`mod x { .. }`) around it, outermost first.
    pub(crate) inline: Vec<String>,
    /// Whether it calls a macro: `path!`.
    pub(crate) is_macro: bool,
}

/// A declaration `mod name;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModDecl {
    /// The module's name.
    pub(crate) name: String,
    /// Line, from 1.
    pub(crate) line: usize,
    /// Inline modules around it, outermost first.
    pub(crate) inline: Vec<String>,
}

/// What a source file names, without what is there only for tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// Every path of at least two words, and every macro call.
    pub(crate) paths: Vec<PathUse>,
    /// Modules in other files, in order.
    pub(crate) modules: Vec<ModDecl>,
    /// Modules declared with a body, at the top level of the file, in order.
    pub(crate) inline_modules: Vec<ModDecl>,
}

/// Reads one file.
pub(crate) fn read(text: &str) -> Source {
    let tokens = without_tests(&tokens(text));
    let mut source = Source::default();
    // Inline modules we are inside of, each with the brace depth of its body.
    let mut inside: Vec<(String, usize)> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        let inline = || inside.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        match &tokens[at].kind {
            Kind::Sign('{') => depth += 1,
            Kind::Sign('}') => {
                depth = depth.saturating_sub(1);
                inside.retain(|(_, body)| *body <= depth);
            }
            Kind::Word(word) if word == "mod" && word_at(&tokens, at + 1).is_some() => {
                let name = word_at(&tokens, at + 1).unwrap_or_default().to_owned();
                let decl = ModDecl { name: name.clone(), line: tokens[at].line, inline: inline() };
                if sign_at(&tokens, at + 2, ';') {
                    source.modules.push(decl);
                } else if sign_at(&tokens, at + 2, '{') {
                    if inside.is_empty() && depth == 0 {
                        source.inline_modules.push(decl);
                    }
                    inside.push((name, depth + 1));
                }
                at += 1;
            }
            Kind::Word(_) => {
                let mut found = Vec::new();
                let end = expand(&tokens, at, &mut Vec::new(), &mut found);
                let inline = inline();
                source.paths.extend(
                    found
                        .into_iter()
                        .filter(|path| path.segments.len() > 1 || path.is_macro)
                        .map(|path| PathUse { inline: inline.clone(), ..path }),
                );
                at = end.max(at + 1);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    source
}

/// Reads the path that starts at `at` behind `prefix`; returns the index after it.
fn expand(tokens: &[Token], at: usize, prefix: &mut Vec<String>, found: &mut Vec<PathUse>) -> usize {
    let depth = prefix.len();
    let mut at = at;
    let line = tokens.get(at).map_or(0, |token| token.line);
    loop {
        match tokens.get(at).map(|token| &token.kind) {
            Some(Kind::Word(word)) => {
                prefix.push(word.clone());
                at += 1;
            }
            Some(Kind::Sign('*')) if !prefix.is_empty() => {
                prefix.push("*".to_owned());
                at += 1;
                break;
            }
            Some(Kind::Sign('{')) if !prefix.is_empty() => {
                at = expand_group(tokens, at + 1, prefix, found);
                prefix.truncate(depth);
                return at;
            }
            // `a::<T>` or `a::` at the end of a macro's pattern: the path is over.
            _ => break,
        }
        if !is_path_sep(tokens, at) {
            break;
        }
        at += 2;
    }
    let is_macro = sign_at(tokens, at, '!') && !sign_at(tokens, at + 1, '=');
    found.push(PathUse { segments: prefix.clone(), line, inline: Vec::new(), is_macro });
    prefix.truncate(depth);
    at
}

/// Reads the elements of a `use` group up to and with its closing brace.
fn expand_group(tokens: &[Token], at: usize, prefix: &mut Vec<String>, found: &mut Vec<PathUse>) -> usize {
    let mut at = at;
    while at < tokens.len() {
        match &tokens[at].kind {
            Kind::Sign('}') => return at + 1,
            Kind::Sign(',') => at += 1,
            Kind::Word(word) if word == "as" => at += 2,
            _ => at = expand(tokens, at, prefix, found).max(at + 1),
        }
    }
    at
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Word(String),
    Sign(char),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    kind: Kind,
    line: usize,
}

/// Words and signs of a source text; comments, literals and lifetimes are left out.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let taken = if rest.starts_with(&['/', '/']) {
            rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
        } else if rest.starts_with(&['/', '*']) {
            block_comment(rest)
        } else if let Some(length) = string(rest) {
            length
        } else if rest[0] == '\'' {
            char_or_lifetime(rest)
        } else if is_word(rest[0]) {
            let start =
                if rest.starts_with(&['r', '#']) && rest.get(2).is_some_and(|c| is_word(*c)) { 2 } else { 0 };
            let length = start + rest[start..].iter().take_while(|c| is_word(**c)).count();
            out.push(Token { kind: Kind::Word(rest[start..length].iter().collect()), line });
            length
        } else {
            if !rest[0].is_whitespace() {
                out.push(Token { kind: Kind::Sign(rest[0]), line });
            }
            1
        };
        line += rest[..taken].iter().filter(|c| **c == '\n').count();
        at += taken;
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of a string literal of any kind at the start of `rest`.
fn string(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take(2).take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    let raw = prefix > 0 && rest[prefix - 1] == 'r';
    let hashes = if raw { rest[prefix..].iter().take_while(|c| **c == '#').count() } else { 0 };
    let open = prefix + hashes;
    if rest.get(open) != Some(&'"') {
        return None;
    }
    let mut at = open + 1;
    while at < rest.len() {
        match rest[at] {
            '\\' if !raw => at += 2,
            '"' if rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes => {
                return Some(at + 1 + hashes);
            }
            _ => at += 1,
        }
    }
    Some(rest.len())
}

fn char_or_lifetime(rest: &[char]) -> usize {
    match rest.get(1) {
        Some('\\') => {
            // The character after the backslash may itself be a quote.
            let close = rest.iter().skip(3).position(|c| *c == '\'');
            close.map_or(rest.len(), |found| found + 4)
        }
        Some(_) if rest.get(2) == Some(&'\'') => 3,
        _ => 1 + rest[1..].iter().take_while(|c| is_word(**c)).count(),
    }
}

/// Drops every item under an attribute that makes it exist only for tests.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let inner = sign_at(tokens, at, '#') && sign_at(tokens, at + 1, '!');
        let open = if inner { at + 2 } else { at + 1 };
        if !sign_at(tokens, at, '#') || !sign_at(tokens, open, '[') {
            out.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let end = closing(tokens, open);
        if !only_for_tests(&tokens[open + 1..end]) {
            out.extend_from_slice(&tokens[at..=end.min(tokens.len() - 1)]);
            at = end + 1;
        } else if inner {
            return Vec::new();
        } else {
            at = item_end(tokens, end + 1);
        }
    }
    out
}

/// Whether an attribute's content is `test` or a `cfg` that cannot hold outside tests.
fn only_for_tests(attribute: &[Token]) -> bool {
    match word_at(attribute, 0) {
        Some("test") => attribute.len() == 1,
        Some("cfg") if sign_at(attribute, 1, '(') => needs_test(&attribute[2..closing(attribute, 1)]),
        _ => false,
    }
}

/// Whether a `cfg` predicate can hold only when `test` does.
fn needs_test(predicate: &[Token]) -> bool {
    let word = word_at(predicate, 0);
    if predicate.len() == 1 {
        return word == Some("test");
    }
    if !sign_at(predicate, 1, '(') {
        return false;
    }
    let body = &predicate[2..closing(predicate, 1).min(predicate.len())];
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < body.len() {
        if sign_at(body, at, '(') {
            at = closing(body, at);
        } else if sign_at(body, at, ',') {
            parts.push(&body[start..at]);
            start = at + 1;
        }
        at += 1;
    }
    if start < body.len() {
        parts.push(&body[start..]);
    }
    match word {
        Some("all") => parts.iter().any(|part| needs_test(part)),
        Some("any") => !parts.is_empty() && parts.iter().all(|part| needs_test(part)),
        _ => false,
    }
}

/// The index after the item (or field, variant, arm) that starts at `at`, further attributes included.
fn item_end(tokens: &[Token], at: usize) -> usize {
    // Items that end at their own body; `use`, `const` and the like have braces inside and end at `;`.
    const BODIES: &[&str] = &["mod", "fn", "struct", "enum", "union", "impl", "trait", "macro_rules"];
    const STATEMENTS: &[&str] = &["use", "static", "type", "let", "const"];
    let mut at = at;
    while sign_at(tokens, at, '#') && sign_at(tokens, at + 1, '[') {
        at = closing(tokens, at + 1) + 1;
    }
    // The first word that says what this is decides: `const fn` is a function, `const X` a statement.
    let head = tokens[at.min(tokens.len())..].iter().map_while(|token| match &token.kind {
        Kind::Sign('(' | ')') => Some(""),
        Kind::Sign(_) => None,
        Kind::Word(word) => Some(word.as_str()),
    });
    let words: Vec<&str> = head.collect();
    let has_body = words.iter().any(|word| BODIES.contains(word));
    let statement = !has_body && words.iter().any(|word| STATEMENTS.contains(word));
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Sign(';') => return at + 1,
            Kind::Sign(',') if !has_body && !statement => return at + 1,
            // The end of whatever the item stands in.
            Kind::Sign('}' | ')' | ']') => return at,
            Kind::Sign('{') if has_body => return closing(tokens, at) + 1,
            Kind::Sign('(' | '[' | '{') => at = closing(tokens, at) + 1,
            _ => at += 1,
        }
    }
    at
}

/// The index of the sign that closes the bracket at `open`, or the end of the text.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Sign('(' | '[' | '{') => depth += 1,
            Kind::Sign(')' | ']' | '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

fn word_at(tokens: &[Token], at: usize) -> Option<&str> {
    match tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Word(word)) => Some(word),
        _ => None,
    }
}

fn sign_at(tokens: &[Token], at: usize, sign: char) -> bool {
    tokens.get(at).is_some_and(|token| token.kind == Kind::Sign(sign))
}

fn is_path_sep(tokens: &[Token], at: usize) -> bool {
    sign_at(tokens, at, ':') && sign_at(tokens, at + 1, ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let found = read(text).paths;
        found
            .into_iter()
            .map(|path| path.segments.join("::") + if path.is_macro { "!" } else { "" })
            .collect()
    }

    #[test]
    fn groups_are_expanded() {
        let text = "use crate::{a, b::{C as D, e::*}, f::g}; use {crate::h, super::i::J as K};";
        let want = ["crate::a", "crate::b::C", "crate::b::e::*", "crate::f::g", "crate::h", "super::i::J"];
        assert_eq!(paths(text), want);
    }

    #[test]
    fn paths_in_code_are_seen_and_generics_end_them() {
        let text =
            "fn f(x: &crate::a::B) -> ::std::io::R { crate::c::d::<u8>(); crate::m!(1); a != b; v![2] }";
        assert_eq!(paths(text), ["crate::a::B", "std::io::R", "crate::c::d", "crate::m!", "v!"]);
    }

    #[test]
    fn comments_strings_and_chars_are_not_code() {
        let text = r##"
            // crate::a::b
            /* crate::a /* nested */ crate::b */
            /// crate::c
            const S: &str = "crate::d \" crate::e"; const R: &str = r#"crate::f " "#;
            const B: &[u8] = br"crate::g\"; const Q: char = '"'; const E: u8 = b'\'';
            fn g<'a>(x: &'a str) -> char { '\u{22}' } use crate::seen::Here;
        "##;
        assert_eq!(paths(text), ["crate::seen::Here"]);
    }

    #[test]
    fn lines_are_counted_across_comments_and_strings() {
        let source = read("/* 1\n2 */ const A: &str = \"3\n\n5\";\nuse crate::x::Y;");
        assert_eq!(source.paths[0].line, 5);
    }

    #[test]
    fn test_items_are_dropped_and_only_those() {
        let text = "
            #[cfg(test)] mod tests { use crate::no::A; }
            #[cfg(all(test, loom))] mod loom_tests;
            #[cfg(test)] #[path = \"x.rs\"] pub(crate) mod support;
            #[cfg(test)] use crate::{no::B, no::C};
            #[cfg(test)] const fn f() { crate::no::d() }
            #[cfg(test)] const T: &[u8] = &[{ crate::no::E }];
            #[test] fn t() { crate::no::g(); }
            struct S { #[cfg(test)] a: crate::no::H, b: crate::yes::A }
            #[cfg(not(test))] use crate::yes::B;
            #[cfg(any(test, fuzzing))] mod kept;
            #[cfg(loom)] use crate::yes::C;
            #[derive(Debug)] struct Unit;
            mod last;
        ";
        let source = read(text);
        let names: Vec<&str> = source.modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(paths(text), ["crate::yes::A", "crate::yes::B", "crate::yes::C"]);
        assert_eq!(names, ["kept", "last"]);
        assert_eq!(read("#![cfg(test)]\nuse crate::a::B;"), Source::default());
    }

    #[test]
    fn inline_modules_are_tracked() {
        let source = read("mod a { mod b { use super::x::Y; } use super::z::W; mod c; } use crate::d::E;");
        let inline: Vec<Vec<String>> = source.paths.iter().map(|path| path.inline.clone()).collect();
        assert_eq!(inline, [vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned()], vec![]]);
        assert_eq!(source.modules[0].inline, ["a"]);
        assert_eq!(source.inline_modules.len(), 1);
    }
}
