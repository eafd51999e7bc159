//! HTML pieces.

/// Text as it may stand in HTML and SVG, also within a quoted attribute. Control characters, which no markup may hold,
/// are replaced.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            '\n' | '\t' => escaped.push(' '),
            char if char.is_control() => escaped.push('\u{fffd}'),
            char => escaped.push(char),
        }
    }
    escaped
}

/// A name cut to so many characters, for where there is no room for more.
pub(super) fn shorten(name: &str, widest: usize) -> String {
    match name.char_indices().nth(widest) {
        None => name.to_owned(),
        Some(_) => name.chars().take(widest - 1).chain(['…']).collect(),
    }
}

/// A section with its title and what it shows.
pub(super) fn section(title: &str, caption: &str, body: &str) -> String {
    format!(
        "<section>\n<h2>{}</h2>\n<p class=\"caption\">{caption}</p>\n{body}</section>\n",
        escape(title)
    )
}

/// Panels of which one is shown at a time, without a script. `id` tells groups apart; the style sheet knows twelve.
pub(super) fn tabs(id: &str, shown: usize, panels: &[(String, String)]) -> String {
    let mut html = String::from("<div class=\"tabs\">\n");
    for (index, (title, _)) in panels.iter().enumerate() {
        let checked = if index == shown { " checked" } else { "" };
        html += &format!(
            "<input type=\"radio\" name=\"{id}\" id=\"{id}{index}\"{checked}><label for=\"{id}{index}\">{}</label>\n",
            escape(title)
        );
    }
    for (_, panel) in panels {
        html += &format!("<div>{panel}</div>\n");
    }
    html + "</div>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes() {
        assert_eq!(
            escape("a<b> & \"c\" 'd'\u{1b}[2J\n"),
            "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;\u{fffd}[2J "
        );
        assert_eq!(shorten("äöü", 3), "äöü");
        assert_eq!(shorten("äöüß", 3), "äö…");
    }
}
