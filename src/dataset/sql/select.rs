//! One SELECT: FROM, WHERE, GROUP BY, HAVING, windows, the projection.

use super::display::display;
use super::expr::Translator;
use super::query::{Binder, Bound, alias_name, column};
use super::scope::Scope;
use super::text::{at, place};
use super::typed::{Typed, identifier};
use crate::dataset::DatasetError;
use arrow_schema::FieldRef;
use sqlparser::ast::{
    Distinct, ExcludeSelectItem, Expr, GroupByExpr, Ident, NamedWindowExpr, ObjectName, ObjectNamePart,
    OrderByExpr, Select, SelectItem, SelectItemQualifiedWildcardKind, Spanned as _, Value, ValueWithSpan,
    WildcardAdditionalOptions,
};
use sqlparser::tokenizer::Location;

/// Most columns of a result.
const MAX_COLUMNS: usize = 2_000;

/// A column of a result.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub name: String,
    pub typed: Typed,
}

pub(super) fn outputs_of(outputs: &[Output]) -> impl Iterator<Item = FieldRef> + '_ {
    outputs.iter().map(|output| output.typed.field(&output.name))
}

impl Binder<'_> {
    pub fn select(
        &self,
        translator: &mut Translator<'_>,
        outer: &Scope<'_>,
        select: &Select,
        order: &[OrderByExpr],
    ) -> Result<Bound, DatasetError> {
        refuse_extras(select)?;
        let mut scope = Scope::inside(outer);
        let from = self.from(translator, &mut scope, &select.from)?;
        let mut tail = String::new();
        if let Some(selection) = &select.selection {
            let aggregates = std::mem::replace(&mut translator.aggregates, false);
            let condition = translator.expr(&scope, selection);
            translator.aggregates = aggregates;
            tail.push_str(&format!(" WHERE {}", translator.boolean(condition?)?.sql));
        }
        let groups = self.groups(translator, &scope, select)?;
        translator.begin_groups(groups.clone());
        let outputs = self.projection(translator, &scope, select)?;
        scope.aliases = outputs.iter().map(|o| (o.name.clone(), o.typed.clone())).collect();
        let having = match &select.having {
            Some(having) => {
                let condition = translator.expr(&scope, having)?;
                format!(" HAVING {}", translator.boolean(condition)?.sql)
            }
            None => String::new(),
        };
        let mut keys = Vec::with_capacity(order.len());
        for one in order {
            keys.push(order_key(translator, &scope, &outputs, one)?);
        }
        translator.end_groups(!groups.is_empty() || select.having.is_some())?;
        if !groups.is_empty() {
            tail.push_str(&format!(" GROUP BY {}", groups.join(", ")));
        }
        tail.push_str(&having);
        tail.push_str(&self.windows(translator, &scope, select)?);
        if !keys.is_empty() {
            tail.push_str(&format!(" ORDER BY {}", keys.join(", ")));
        }
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => "",
            Some(Distinct::Distinct) => "DISTINCT ",
            Some(Distinct::On(on)) => {
                let here = on.first().map_or(Location { line: 0, column: 0 }, place);
                return Err(at(
                    here,
                    "DISTINCT ON is not possible here; use row_number() OVER (PARTITION BY …) = 1",
                ));
            }
        };
        let printed: Vec<String> =
            outputs.iter().enumerate().map(|(i, o)| format!("{} AS {}", o.typed.sql, column(i))).collect();
        let sql = format!("SELECT {distinct}{}{from}{tail}", printed.join(", "));
        Ok(Bound { sql, outputs })
    }

    /// GROUP BY, printed. Names of the projection and numbers of its columns stand for their expressions.
    fn groups(
        &self,
        translator: &mut Translator<'_>,
        scope: &Scope<'_>,
        select: &Select,
    ) -> Result<Vec<String>, DatasetError> {
        let GroupByExpr::Expressions(exprs, modifiers) = &select.group_by else {
            return Err(DatasetError::invalid("SQL: GROUP BY ALL is not known here; name the columns"));
        };
        if !modifiers.is_empty() {
            return Err(DatasetError::invalid("SQL: ROLLUP, CUBE and TOTALS are not possible here"));
        }
        let mut groups = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let expr = match expr {
                Expr::Value(ValueWithSpan { value: Value::Number(digits, _), span }) => {
                    let item =
                        digits.parse::<usize>().ok().and_then(|n| select.projection.get(n.checked_sub(1)?));
                    item.and_then(expr_of)
                        .ok_or_else(|| at(span.start, format!("there is no column {digits} to group by")))?
                }
                Expr::Identifier(ident) if scope.find(ident)?.is_none() => {
                    aliased(select, ident).unwrap_or(expr)
                }
                Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => {
                    return Err(at(place(expr), "GROUPING SETS, CUBE and ROLLUP are not possible here"));
                }
                other => other,
            };
            let typed = translator.expr(scope, expr)?;
            groups.push(if typed.constant.is_some() {
                format!("({} IS NULL)", typed.sql)
            } else {
                typed.sql
            });
        }
        Ok(groups)
    }

    fn projection(
        &self,
        translator: &mut Translator<'_>,
        scope: &Scope<'_>,
        select: &Select,
    ) -> Result<Vec<Output>, DatasetError> {
        let mut outputs = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let typed = translator.expr(scope, expr)?;
                    outputs.push(Output { name: display(scope, expr, true), typed });
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    let typed = translator.expr(scope, expr)?;
                    outputs.push(Output { name: alias_name(alias), typed });
                }
                SelectItem::Wildcard(options) => {
                    self.wildcard(translator, scope, None, options, &mut outputs)?;
                }
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(ObjectName(parts)),
                    options,
                ) => {
                    let Some(ObjectNamePart::Identifier(relation)) = parts.last() else {
                        return Err(at(item.span().start, "name the table: t.*"));
                    };
                    self.wildcard(translator, scope, Some(relation), options, &mut outputs)?;
                }
                other => return Err(at(other.span().start, format!("`{other}` is not known here"))),
            }
            if outputs.len() > MAX_COLUMNS {
                return Err(at(item.span().start, format!("a result has at most {MAX_COLUMNS} columns")));
            }
        }
        if outputs.is_empty() {
            return Err(at(select.span().start, "the query selects nothing"));
        }
        Ok(outputs)
    }

    fn wildcard(
        &self,
        translator: &mut Translator<'_>,
        scope: &Scope<'_>,
        relation: Option<&Ident>,
        options: &WildcardAdditionalOptions,
        outputs: &mut Vec<Output>,
    ) -> Result<(), DatasetError> {
        let here = options.wildcard_token.0.span.start;
        if options.opt_ilike.is_some() || options.opt_replace.is_some() || options.opt_rename.is_some() {
            return Err(at(here, "`*` takes EXCEPT (…) or EXCLUDE (…) here, and nothing else"));
        }
        let mut left_out: Vec<Ident> = Vec::new();
        if let Some(except) = &options.opt_except {
            left_out.push(except.first_element.clone());
            left_out.extend(except.additional_elements.iter().cloned());
        }
        let names = match &options.opt_exclude {
            None => &[][..],
            Some(ExcludeSelectItem::Single(name)) => std::slice::from_ref(name),
            Some(ExcludeSelectItem::Multiple(names)) => names,
        };
        for name in names {
            if let Some(ObjectNamePart::Identifier(ident)) = name.0.last() {
                left_out.push(ident.clone());
            }
        }
        let before = outputs.len();
        for column in &scope.columns {
            let of = match (relation, &column.relation) {
                (None, _) => !column.hidden,
                (Some(wanted), Some(relation)) => super::scope::same(wanted, relation),
                (Some(_), None) => false,
            };
            if of && !left_out.iter().any(|ident| super::scope::same(ident, column.field.name())) {
                let typed = Typed::of_field(column.sql.clone(), &column.field, here);
                translator.met_column(&typed);
                outputs.push(Output { name: column.field.name().clone(), typed });
            }
        }
        if outputs.len() == before {
            return Err(at(here, "`*` stands for no column here"));
        }
        Ok(())
    }

    fn windows(
        &self,
        translator: &mut Translator<'_>,
        scope: &Scope<'_>,
        select: &Select,
    ) -> Result<String, DatasetError> {
        let mut printed = Vec::with_capacity(select.named_window.len());
        for window in &select.named_window {
            let NamedWindowExpr::WindowSpec(spec) = &window.1 else {
                return Err(at(window.0.span.start, "write what the window is: WINDOW w AS (ORDER BY …)"));
            };
            let spec = translator.window(scope, spec)?;
            printed.push(format!("{} AS ({spec})", identifier(&window.0.value)));
        }
        if printed.is_empty() {
            return Ok(String::new());
        }
        Ok(format!(" WINDOW {}", printed.join(", ")))
    }
}

/// One key of ORDER BY: the number or name of a result's column, else an expression.
pub(super) fn order_key(
    translator: &mut Translator<'_>,
    scope: &Scope<'_>,
    outputs: &[Output],
    order: &OrderByExpr,
) -> Result<String, DatasetError> {
    let direction = super::aggregate::direction(order)?;
    let found = match &order.expr {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), span }) => {
            match digits.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).filter(|n| *n < outputs.len()) {
                Some(index) => Some(index),
                None => return Err(at(span.start, format!("there is no column {digits} to order by"))),
            }
        }
        Expr::Identifier(ident) => outputs.iter().position(|o| super::scope::same(ident, &o.name)),
        _ => None,
    };
    let key = if let Some(index) = found {
        let named = Typed { sql: column(index), constant: None, ..outputs[index].typed.clone() };
        translator.sort_key(&named)
    } else {
        let typed = translator.expr(scope, &order.expr)?;
        translator.sort_key(&typed)
    };
    Ok(format!("{key}{direction}"))
}

fn expr_of(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

fn aliased<'s>(select: &'s Select, ident: &Ident) -> Option<&'s Expr> {
    select.projection.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if super::scope::same(ident, &alias_name(alias)) => {
            Some(expr)
        }
        _ => None,
    })
}

fn refuse_extras(select: &Select) -> Result<(), DatasetError> {
    let extra = if select.top.is_some() {
        "TOP"
    } else if select.into.is_some() {
        "INTO"
    } else if !select.lateral_views.is_empty() {
        "LATERAL VIEW"
    } else if select.prewhere.is_some() {
        "PREWHERE"
    } else if !select.connect_by.is_empty() {
        "CONNECT BY"
    } else if select.qualify.is_some() {
        "QUALIFY"
    } else if !(select.cluster_by.is_empty() && select.distribute_by.is_empty() && select.sort_by.is_empty())
    {
        "CLUSTER, DISTRIBUTE or SORT BY"
    } else if select.value_table_mode.is_some() {
        "AS STRUCT"
    } else if select.exclude.is_some() {
        "EXCLUDE"
    } else {
        return Ok(());
    };
    Err(at(select.span().start, format!("{extra} is not known here")))
}
