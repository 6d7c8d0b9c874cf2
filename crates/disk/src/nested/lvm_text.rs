//! The text that describes a volume group (lvm2, `lib/config/config.c`): sections, and values of numbers, strings and lists.

use std::collections::BTreeMap;

/// Sections within sections; the text of LVM has three.
const DEPTH: usize = 16;

/// A section: its values and sections by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) values: BTreeMap<String, Vec<Value>>,
    pub(super) sections: BTreeMap<String, Section>,
}

/// One value, or one of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Text(String),
}

impl Section {
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.values.get(name)?.first()? {
            Value::Number(number) => Some(*number),
            Value::Text(_) => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name)?.first()? {
            Value::Text(text) => Some(text),
            Value::Number(_) => None,
        }
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.get(name)
    }
}

/// Reads the whole text; `None` if it is not what LVM writes.
pub(super) fn parse(text: &[u8]) -> Option<Section> {
    let text = std::str::from_utf8(text).ok()?;
    let mut reader = Reader { rest: text };
    let section = reader.section(DEPTH, false)?;
    Some(section)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Behind white space and comments.
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, next)| next),
                None => return,
            }
        }
    }

    fn eat(&mut self, letter: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(letter) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Option<&'a str> {
        self.skip();
        let is_word = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// Up to `}`, or up to the end for the outermost one.
    fn section(&mut self, depth: usize, closed: bool) -> Option<Section> {
        let depth = depth.checked_sub(1)?;
        let mut section = Section::default();
        loop {
            if closed && self.eat('}') {
                return Some(section);
            }
            self.skip();
            if self.rest.is_empty() {
                return (!closed).then_some(section);
            }
            let name = self.word()?.to_owned();
            if self.eat('{') {
                section.sections.insert(name, self.section(depth, true)?);
            } else if self.eat('=') {
                section.values.insert(name, self.values()?);
            } else {
                return None;
            }
        }
    }

    fn values(&mut self) -> Option<Vec<Value>> {
        if !self.eat('[') {
            return Some(vec![self.value()?]);
        }
        let mut list = vec![];
        while !self.eat(']') {
            list.push(self.value()?);
            self.eat(',');
        }
        Some(list)
    }

    fn value(&mut self) -> Option<Value> {
        if self.eat('"') {
            let mut text = String::new();
            let mut letters = self.rest.char_indices();
            loop {
                match letters.next()? {
                    (at, '"') => {
                        self.rest = self.rest.get(at..)?.strip_prefix('"')?;
                        return Some(Value::Text(text));
                    }
                    (_, '\\') => text.push(letters.next()?.1),
                    (_, letter) => text.push(letter),
                }
            }
        }
        self.word()?.parse().ok().map(Value::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lvm_writes() {
        let text = b"vg0 {\nid = \"a-b\" # words\nseqno = 3\nstatus = [\"READ\", \"WR\\\"ITE\"]\n\
            empty = []\ninner { x = -1 }\n}\n# end\n\0";
        assert!(parse(text).is_none(), "no negative numbers");
        let text = String::from_utf8(text.to_vec()).unwrap().replace("-1", "1");
        let all = parse(text.as_bytes()).unwrap();
        let group = all.section("vg0").unwrap();
        assert_eq!(
            (group.text("id"), group.number("seqno"), group.number("id")),
            (Some("a-b"), Some(3), None)
        );
        assert_eq!(group.values.get("status").unwrap().len(), 2);
        assert_eq!(group.values.get("status").unwrap().last(), Some(&Value::Text("WR\"ITE".into())));
        assert_eq!(group.section("inner").unwrap().number("x"), Some(1));
    }

    #[test]
    fn what_is_cut_off_or_endless_is_nothing() {
        let text = "a { b { c = [ \"x\", 2 ] } }";
        for end in 1..text.len() {
            assert_eq!(parse(text.as_bytes().get(..end).unwrap()), None, "{end}");
        }
        assert!(parse("a { ".repeat(100_000).as_bytes()).is_none());
        assert!(parse(b"\xff").is_none());
    }
}
