//! Draws the screen.

use super::state::{Pane, State};
use crate::desk::{Class, Request};
use ratatui::Frame;
use ratatui::layout::{Constraint, Direction, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, List, ListItem, ListState, Paragraph};

/// The narrowest screen on which two columns fit.
const WIDE: u16 = 90;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, state: &State) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(6), Constraint::Length(1)])
            .areas(frame.area());
    let running = state.overview.bottles.iter().filter(|bottle| bottle.uptime_s.is_some()).count();
    let title = format!(
        " bottle  {running} of {} running, {} waiting",
        state.overview.bottles.len(),
        state.overview.inbox.len()
    );
    frame.render_widget(Paragraph::new(title).style(Style::new().add_modifier(Modifier::BOLD)), head);
    let rows = |area: Rect, parts: [Constraint; 2]| Layout::vertical(parts).areas::<2>(area);
    let (inbox, bottles, refused, log) = if body.width >= WIDE {
        let [left, right] =
            Layout::new(Direction::Horizontal, [Constraint::Percentage(38), Constraint::Percentage(62)])
                .areas(body);
        let [bottles, refused] = rows(left, [Constraint::Percentage(45), Constraint::Percentage(55)]);
        let [inbox, log] = rows(right, [Constraint::Percentage(45), Constraint::Percentage(55)]);
        (inbox, bottles, refused, log)
    } else {
        let quarter = [
            Constraint::Percentage(30),
            Constraint::Percentage(20),
            Constraint::Percentage(20),
            Constraint::Percentage(30),
        ];
        let [inbox, bottles, refused, log] = Layout::vertical(quarter).areas(body);
        (inbox, bottles, refused, log)
    };
    draw_inbox(frame, inbox, state);
    draw_bottles(frame, bottles, state);
    draw_refused(frame, refused, state);
    draw_log(frame, log, state);
    draw_foot(frame, foot, state);
}

fn block(state: &State, pane: Pane, title: &str) -> Block<'static> {
    let style = if state.pane == pane {
        Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD)
    } else {
        Style::new().fg(Color::DarkGray)
    };
    Block::bordered().border_style(style).title(format!(" {title} "))
}

fn list(frame: &mut Frame<'_>, area: Rect, state: &State, pane: Pane, title: &str, items: Vec<ListItem<'_>>) {
    let mut at = ListState::default();
    if !items.is_empty() {
        at.select(Some(state.position(pane)));
    }
    let marked = Style::new().add_modifier(Modifier::REVERSED);
    let marked = if state.pane == pane { marked } else { Style::new().add_modifier(Modifier::BOLD) };
    let list = List::new(items).block(block(state, pane, title)).highlight_style(marked);
    frame.render_stateful_widget(list, area, &mut at);
}

fn draw_inbox(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let items =
        state.overview.inbox.iter().map(|request| ListItem::new(asked(request, area.width))).collect();
    list(frame, area, state, Pane::Inbox, "Inbox: a approves, r refuses", items);
}

/// Returns a request, with what it would change. A longer text is cut: `bottle inbox` has all of it.
fn asked(request: &Request, width: u16) -> Vec<Line<'static>> {
    let room = usize::from(width.saturating_sub(4)).max(10);
    let words: String = request.words.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let cut: String = words.chars().take(room * 2).collect();
    let mut lines = vec![Line::from(format!("{}.{}  {}", request.bottle, request.number, request.says))];
    let letters: Vec<char> = cut.chars().collect();
    lines.extend(
        letters.chunks(room).map(|part| Line::from(format!("  {}", part.iter().collect::<String>()))),
    );
    let color = |added| if added { Color::Green } else { Color::Red };
    lines.extend(request.changes.iter().map(|change| {
        let sign = if change.added { '+' } else { '-' };
        Line::styled(format!("  {sign} {}", change.rule), Style::new().fg(color(change.added)))
    }));
    lines.extend(
        request.forbidden.iter().map(|why| Line::styled(format!("  {why}"), Style::new().fg(Color::Red))),
    );
    lines
}

fn draw_bottles(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let items = state.overview.bottles.iter().map(|bottle| {
        let color = match bottle.state {
            "running" | "ephemeral" => Color::Green,
            "broken" => Color::Red,
            _ => Color::DarkGray,
        };
        let pushes =
            if bottle.pushes > 0 { format!("  {} pushes wait", bottle.pushes) } else { String::new() };
        let report = bottle.report.as_ref().map_or_else(String::new, |report| format!("  {report}"));
        ListItem::new(Line::from(vec![
            Span::styled(format!("{:<9} ", bottle.state), Style::new().fg(color)),
            Span::raw(format!("{}{pushes}{report}", bottle.slug)),
        ]))
    });
    list(frame, area, state, Pane::Bottles, "Bottles", items.collect());
}

fn draw_refused(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let items = state.refused.iter().map(|one| {
        let rule = one.rule.as_deref().unwrap_or_default();
        ListItem::new(format!("{:>5}x {rule}  {}", one.count, State::word(one.standing)))
    });
    list(frame, area, state, Pane::Refused, "Refused: a allows, d closes", items.collect());
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let room = usize::from(area.height.saturating_sub(2));
    let skipped = state.lines.len().saturating_sub(room);
    let lines = state.lines.iter().skip(skipped).map(|line| {
        let color = match line.class {
            Class::Refused => Color::Red,
            Class::Allowed => Color::Green,
            Class::Trouble => Color::Yellow,
            Class::Note => Color::Reset,
        };
        let of_day = line.time_ms / 1000 % 86_400;
        let time = format!("{:02}:{:02}:{:02} ", of_day / 3600, of_day / 60 % 60, of_day % 60);
        Line::from(vec![
            Span::styled(time, Style::new().fg(Color::DarkGray)),
            Span::raw(format!("{:<9} ", line.part)),
            Span::styled(format!("{:<9} ", line.event), Style::new().fg(color)),
            Span::raw(line.details.clone()),
        ])
    });
    let title = state.chosen().map_or_else(|| "Log".to_owned(), |slug| format!("Log of {slug}"));
    let text: Vec<Line<'_>> = lines.collect();
    frame.render_widget(Paragraph::new(text).block(block(state, Pane::Log, &title)), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let text = match &state.prompt {
        Some(prompt) => {
            let asked = format!(" answer {}.{}: ", prompt.request.bottle, prompt.request.number);
            // The end of a long answer is where it is being written.
            let room = usize::from(area.width).saturating_sub(asked.len() + 1);
            let skipped = prompt.text.chars().count().saturating_sub(room);
            format!("{asked}{}_", prompt.text.chars().skip(skipped).collect::<String>())
        }
        None if state.said.is_empty() => " Tab: next part  arrows: move  q: end".to_owned(),
        None => format!(" {}", state.said),
    };
    frame.render_widget(Paragraph::new(text), area);
}
