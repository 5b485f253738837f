//! A report as a page that stands for itself: no script, nothing that is fetched.
//!
//! Invariant: what comes from a report reaches the page through [`text`] only.

use serde_json::{Map, Value};

use super::content::Report;

const STYLE: &str = "body{font:15px/1.4 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse;margin:.3em 0}th,td{border:1px solid #ccc;padding:.2em .6em;text-align:left;\
    vertical-align:top;overflow-wrap:anywhere}th{background:#f3f3f3;font-weight:600}h2{margin-top:1.6em}\
    code{overflow-wrap:anywhere}";

/// What is shown first, of the report and of each table; the rest follows by name.
const ORDER: [&str; 29] = [
    "task",
    "state",
    "written",
    "written_by",
    "format",
    "source",
    "target",
    "settings",
    "times",
    "offsets",
    "full_copy",
    "processes",
    "cutover",
    "cutovers_undone",
    "differences",
    "comparisons",
    "precheck",
    "history",
    "at",
    "begun",
    "full_copy_begun",
    "full_copy_done",
    "in_step",
    "cut_over",
    "ended",
    "complete",
    "database",
    "target_database",
    "type",
];

/// The page. `digest`: the SHA-256 of the JSON file.
pub(super) fn page(report: &Report, digest: &str) -> String {
    let value = serde_json::to_value(report).unwrap_or_default();
    let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    // Whatever might get past the escaping: nothing is fetched, nothing runs.
    out.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
    );
    out.push_str("<title>Keyferry: ");
    text(&mut out, &report.task);
    out.push_str("</title><style>");
    out.push_str(STYLE);
    out.push_str("</style></head><body>\n<h1>Migration ");
    text(&mut out, &report.task);
    out.push_str("</h1>\n<p>SHA-256 of the JSON file: <code>");
    text(&mut out, digest);
    out.push_str("</code></p>\n");
    let Value::Object(fields) = &value else { return out };
    let (sections, lines): (Vec<_>, Vec<_>) = in_order(fields).into_iter().partition(|(_, value)| is_nested(value));
    out.push_str("<table>");
    lines.into_iter().for_each(|field| row(&mut out, field));
    out.push_str("</table>\n");
    for (name, value) in sections {
        out.push_str("<h2>");
        text(&mut out, &title(name));
        out.push_str("</h2>\n");
        show(&mut out, value);
        out.push('\n');
    }
    out.push_str("</body></html>\n");
    out
}

fn is_nested(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_))
}

fn in_order(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()));
    fields
}

fn title(name: &str) -> String {
    name.replace('_', " ")
}

fn row(out: &mut String, (name, value): (&String, &Value)) {
    out.push_str("<tr><th>");
    text(out, &title(name));
    out.push_str("</th><td>");
    show(out, value);
    out.push_str("</td></tr>");
}

/// The depth is that of a report and of what the precheck and comparisons say: JSON that was read has a bound.
fn show(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push('-'),
        Value::Bool(yes) => out.push_str(if *yes { "yes" } else { "no" }),
        Value::Number(n) => text(out, &n.to_string()),
        Value::String(words) => text(out, words),
        Value::Object(fields) if fields.is_empty() => out.push_str("none"),
        Value::Object(fields) => {
            out.push_str("<table>");
            in_order(fields).into_iter().for_each(|field| row(out, field));
            out.push_str("</table>");
        }
        Value::Array(items) if items.is_empty() => out.push_str("none"),
        Value::Array(items) => match items.first() {
            Some(Value::Object(_)) if items.iter().all(Value::is_object) => {
                let fields = items.iter().filter_map(Value::as_object).flatten();
                let all = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
                let names: Vec<&String> = in_order(&all).into_iter().map(|(name, _)| name).collect();
                out.push_str("<table><tr>");
                for name in &names {
                    out.push_str("<th>");
                    text(out, &title(name));
                    out.push_str("</th>");
                }
                out.push_str("</tr>");
                for item in items {
                    out.push_str("<tr>");
                    for name in &names {
                        out.push_str("<td>");
                        show(out, &item[name.as_str()]);
                        out.push_str("</td>");
                    }
                    out.push_str("</tr>");
                }
                out.push_str("</table>");
            }
            _ => {
                for item in items {
                    out.push_str("<div>");
                    show(out, item);
                    out.push_str("</div>");
                }
            }
        },
    }
}

/// Adds text as text, wherever it stands. What a browser does not show, or shows as something else, such as a change of
/// direction, is shown as a box.
fn text(out: &mut String, words: &str) {
    for c in words.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '`' => out.push_str("&#96;"),
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => {
                out.push('\u{fffd}')
            }
            '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOSTILE: &str = "\"><script src='http://x/'>`&\u{202e}\u{0}</td><!--";

    #[test]
    fn nothing_of_a_report_is_markup() {
        let mut report = Report { task: HOSTILE.into(), ..Report::default() };
        report.source.versions.push(HOSTILE.into());
        report.settings.rules.push(HOSTILE.into());
        report.full_copy.unsupported.insert(HOSTILE.into(), 1);
        report.precheck =
            Some(json!({HOSTILE: [{HOSTILE: HOSTILE}, HOSTILE], "deep": [[HOSTILE], {HOSTILE: {"a": HOSTILE}}]}));
        let page = page(&report, HOSTILE);
        assert!(page.matches("&quot;&gt;&lt;script src=&#39;http").count() >= 10, "{page}");
        // What is left when the page's own marks are taken out has no mark.
        let own = [
            "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "code", "table", "tr", "th", "td", "div",
        ];
        for tag in page.split('<').skip(1) {
            let name = tag.split(|c: char| !c.is_ascii_alphanumeric() && c != '/' && c != '!').next().unwrap();
            assert!(name == "!DOCTYPE" || own.contains(&name.trim_start_matches('/')), "<{name}");
        }
        assert!(!page.contains('\u{202e}') && !page.contains('\0') && !page.contains('`'));
    }

    #[test]
    fn a_table_has_the_columns_of_all_its_lines() {
        let mut out = String::new();
        show(&mut out, &json!([{"a": 1}, {"b": 2, "a": 3}]));
        assert_eq!(
            out,
            "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>-</td></tr><tr><td>3</td><td>2</td></tr></table>"
        );
        let mut out = String::new();
        show(&mut out, &json!([{"a": 1}, "b"]));
        assert!(out.contains('1') && out.contains("<div>b</div>"), "{out}");
    }

    #[test]
    fn what_is_not_seen_is_shown() {
        for hidden in
            ['\u{ad}', '\u{61c}', '\u{180e}', '\u{200b}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{e0041}', '\u{85}']
        {
            let mut out = String::new();
            text(&mut out, &format!("a{hidden}b"));
            assert_eq!(out, "a\u{fffd}b", "{hidden:?}");
        }
    }

    #[test]
    fn every_field_is_on_the_page() {
        let report = Report { task: "t".into(), ..Report::default() };
        let page = page(&report, "digest");
        let Value::Object(fields) = serde_json::to_value(&report).unwrap() else { unreachable!() };
        for name in fields.keys() {
            assert!(page.contains(&title(name)), "{name}");
        }
        for outside in ["http:", "https:", "//", "src=", "href=", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
