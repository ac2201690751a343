//! A look as text.

use std::fmt::Write;

use millpond::net::Endpoint;

use super::Sort;
use super::look::Look;
use super::table::{Table, bytes, short};

pub(super) fn text(endpoint: &Endpoint, look: &Look) -> String {
    let [to_upstream, to_client] = look.traffic.map(bytes);
    let [clients, pooled] = look.open.map(short);
    let [for_memory, for_connection] = look.waits.map(short);
    let [of_connections, of_upstreams] = look.errors.map(short);
    let [lent, idle, frozen] = look.memory.map(bytes);
    let mut text = format!(
        "{endpoint}\n\n\
         traffic      {to_upstream} to upstreams, {to_client} to clients, so far\n\
         connections  {clients} of clients, {pooled} in pools\n\
         waits        {for_memory} for memory, {for_connection} for a connection\n\
         errors       {of_connections} of connections, {of_upstreams} of upstreams, so far\n\
         memory       {lent} lent, {idle} idle, {frozen} frozen\n"
    );
    // A write to a string does not fail.
    if let Some(ready) = &look.ready {
        let _ = writeln!(text, "readiness    {ready}");
    }
    for table in [&look.upstreams, &look.regions, &look.connections, &look.holders, &look.classes] {
        // Few programs have regions.
        if table.rows.is_empty() && table.note.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{}", title(table, look.sort));
        if !table.rows.is_empty() {
            for line in table.lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    text
}

/// With what there is to say of the table.
pub(super) fn title(table: &Table, sort: Sort) -> String {
    let order =
        if table.title.ends_with("connections") { format!(", by {}", sort.name()) } else { String::new() };
    let note = if table.note.is_empty() { String::new() } else { format!(" ({})", table.note) };
    format!("{}{order}{note}", table.title)
}
