//! From documents to a catalog: resolves every reference once, and refuses what could not be validated later.

use std::collections::{BTreeMap, HashMap};

use super::catalog::{Catalog, Entry};
use super::constraint::{compile_blob, compile_integer, compile_length, compile_string};
use super::document::{ArrayDef, BodyDef, Definition, Document, MethodDef, ObjectDef, RecordDef, UnionDef};
use super::error::{CompileError, CompileFault};
use super::method::{Body, Method, MethodKind};
use super::record::{Record, RecordKeyRule};
use super::schema::{Literal, ObjectRule, Property, Schema, SchemaId, TypeRule, UnionRule};
use crate::syntax::{Nsid, RecordKey};

/// Compiles documents, which may refer to each other in any order, and to themselves.
pub(super) fn compile(documents: &[Document]) -> Result<Catalog, CompileError> {
    let mut names = HashMap::new();
    let mut arena = Vec::new();
    for document in documents {
        declare(document, &mut names, &mut arena)
            .map_err(|fault| CompileError { document: document.id.clone(), fault })?;
    }
    let mut entries = BTreeMap::new();
    for document in documents {
        let mut compiler = Compiler { document: &document.id, names: &names, arena: &mut arena };
        let entry = compiler.document(document).and_then(|entry| match entries.insert(document.id.clone(), entry) {
            None => Ok(()),
            Some(_) => Err(CompileFault::Duplicate),
        });
        entry.map_err(|fault| CompileError { document: document.id.clone(), fault })?;
    }
    Ok(Catalog::new(arena, entries))
}

/// What a reference can lead to.
#[derive(Clone, Copy)]
struct Target {
    schema: SchemaId,
    /// An object or record, so that a union can tell it by its `$type`.
    typed: bool,
}

type Names = HashMap<String, Target>;

/// Gives each definition its place in the arena, so that references can be resolved whatever the order.
fn declare(document: &Document, names: &mut Names, arena: &mut Vec<Schema>) -> Result<(), CompileFault> {
    if document.lexicon != 1 {
        return Err(CompileFault::Version(document.lexicon));
    }
    for (name, definition) in &document.defs.0 {
        let is_allowed = definition.may_be_named() || (definition.is_primary() && &**name == "main");
        if !is_allowed {
            return Err(misplaced(definition, &format!("#{name}")));
        }
        if definition.may_be_named() || matches!(definition, Definition::Record(_)) {
            let typed = matches!(definition, Definition::Object(_) | Definition::Record(_));
            let target = Target { schema: push(arena, Schema::Unknown)?, typed };
            names.insert(full_name(&document.id, name), target);
        }
    }
    Ok(())
}

/// The name a definition has in references from elsewhere, which is also the `$type` of its values.
fn full_name(document: &Nsid, name: &str) -> String {
    if name == "main" { document.to_string() } else { format!("{document}#{name}") }
}

fn push(arena: &mut Vec<Schema>, schema: Schema) -> Result<SchemaId, CompileFault> {
    let id = u32::try_from(arena.len()).map_err(|_| CompileFault::TooMany)?;
    arena.push(schema);
    Ok(SchemaId(id))
}

/// Compiles one document into the arena.
struct Compiler<'a> {
    document: &'a Nsid,
    names: &'a Names,
    arena: &'a mut Vec<Schema>,
}

impl Compiler<'_> {
    fn document(&mut self, document: &Document) -> Result<Entry, CompileFault> {
        let mut entry = Entry::Definitions;
        for (name, definition) in &document.defs.0 {
            match definition {
                Definition::Record(record) => entry = Entry::Record(self.record(record)?),
                Definition::Query(method) => entry = self.method(MethodKind::Query, method)?,
                Definition::Procedure(method) => entry = self.method(MethodKind::Procedure, method)?,
                Definition::Subscription(method) => entry = self.method(MethodKind::Subscription, method)?,
                Definition::PermissionSet(set) => entry = Entry::PermissionSet(set.clone()),
                value => self.named(name, value)?,
            }
        }
        Ok(entry)
    }

    /// A definition that others can refer to.
    fn named(&mut self, name: &str, definition: &Definition) -> Result<(), CompileFault> {
        let full_name = full_name(self.document, name);
        let schema = match definition {
            Definition::Object(object) => {
                Schema::Object(self.object(object, TypeRule::Optional(full_name.as_str().into()), name)?)
            }
            Definition::Token {} => Schema::Token(full_name.as_str().into()),
            other => self.schema(other, name)?,
        };
        self.fill(&full_name, schema).map(drop)
    }

    /// Puts a definition's schema in the place declared for it.
    fn fill(&mut self, full_name: &str, schema: Schema) -> Result<SchemaId, CompileFault> {
        let id = self.resolve(full_name)?.schema;
        if let Some(slot) = self.arena.get_mut(id.0 as usize) {
            *slot = schema;
        }
        Ok(id)
    }

    fn record(&mut self, record: &RecordDef) -> Result<Record, CompileFault> {
        let Definition::Object(object) = &*record.record else {
            return Err(misplaced(&record.record, "record"));
        };
        let key = match &*record.key {
            "any" => RecordKeyRule::Any,
            "nsid" => RecordKeyRule::Nsid,
            "tid" => RecordKeyRule::Tid,
            other => match other.strip_prefix("literal:") {
                Some(literal) if RecordKey::is_valid(literal) => RecordKeyRule::Literal(literal.into()),
                _ => return Err(CompileFault::RecordKey(other.into())),
            },
        };
        let type_rule = TypeRule::Required(self.document.as_str().into());
        let object = self.object(object, type_rule, "record")?;
        let schema = self.fill(self.document.as_str(), Schema::Object(object))?;
        Ok(Record { key, schema })
    }

    fn method(&mut self, kind: MethodKind, method: &MethodDef) -> Result<Entry, CompileFault> {
        let parameters = match method.parameters.as_deref() {
            None => None,
            Some(Definition::Params(params)) => Some(self.parameters(params)?),
            Some(other) => return Err(misplaced(other, "parameters")),
        };
        let message = method.message.as_ref().and_then(|message| message.schema.as_deref());
        if let Some(other) = message.filter(|schema| !matches!(schema, Definition::Union(_))) {
            return Err(misplaced(other, "message"));
        }
        Ok(Entry::Method(Method {
            kind,
            parameters,
            input: method.input.as_ref().map(|body| self.body(body, "input")).transpose()?,
            output: method.output.as_ref().map(|body| self.body(body, "output")).transpose()?,
            message: message.map(|schema| self.place(schema, "message")).transpose()?,
            errors: method.errors.iter().map(|error| error.name.clone()).collect(),
        }))
    }

    fn parameters(&mut self, params: &ObjectDef) -> Result<SchemaId, CompileFault> {
        for (name, definition) in &params.properties.0 {
            let single = if let Definition::Array(array) = definition { &*array.items } else { definition };
            if !single.is_parameter() {
                return Err(misplaced(single, name));
            }
        }
        let object = self.object(params, TypeRule::Any, "parameters")?;
        push(self.arena, Schema::Object(object))
    }

    fn body(&mut self, body: &BodyDef, place: &str) -> Result<Body, CompileFault> {
        if !body.encoding.contains('/') || body.encoding.contains([',', ';', ' ']) {
            return Err(CompileFault::Encoding(body.encoding.to_string()));
        }
        let schema = match body.schema.as_deref() {
            None => None,
            Some(schema @ (Definition::Object(_) | Definition::Ref(_) | Definition::Union(_))) => {
                Some(self.place(schema, place)?)
            }
            Some(other) => return Err(misplaced(other, place)),
        };
        Ok(Body { encoding: body.encoding.clone(), schema })
    }

    /// The arena place of a definition inside another one; a reference is the place of what it leads to.
    fn place(&mut self, definition: &Definition, place: &str) -> Result<SchemaId, CompileFault> {
        match definition {
            Definition::Ref(reference) => Ok(self.resolve(&reference.r#ref)?.schema),
            other => {
                let schema = self.schema(other, place)?;
                push(self.arena, schema)
            }
        }
    }

    fn schema(&mut self, definition: &Definition, place: &str) -> Result<Schema, CompileFault> {
        match definition {
            Definition::Null {} => Ok(Schema::Null),
            Definition::Boolean(boolean) => match boolean.r#const {
                None => Ok(Schema::Boolean),
                Some(value) => Ok(Schema::OneOf([Literal::Boolean(value)].into())),
            },
            Definition::Integer(integer) => compile_integer(integer, place),
            Definition::String(string) => compile_string(string, place),
            Definition::Bytes(length) => Ok(Schema::Bytes(compile_length(length))),
            Definition::CidLink {} => Ok(Schema::CidLink),
            Definition::Blob(blob) => Ok(Schema::Blob(compile_blob(blob))),
            Definition::Array(array) => self.array(array, place),
            Definition::Object(object) => Ok(Schema::Object(self.object(object, TypeRule::Any, place)?)),
            Definition::Union(union) => Ok(Schema::Union(self.union(union, place)?)),
            Definition::Unknown {} => Ok(Schema::Unknown),
            other => Err(misplaced(other, place)),
        }
    }

    fn array(&mut self, array: &ArrayDef, place: &str) -> Result<Schema, CompileFault> {
        let items = self.place(&array.items, place)?;
        Ok(Schema::Array { items, length: compile_length(&array.length) })
    }

    fn object(&mut self, object: &ObjectDef, type_rule: TypeRule, place: &str) -> Result<ObjectRule, CompileFault> {
        let mut properties = Vec::with_capacity(object.properties.0.len());
        for (name, definition) in &object.properties.0 {
            properties.push(Property {
                name: name.clone(),
                schema: self.place(definition, &format!("{place}.{name}"))?,
                required: object.required.contains(name),
                nullable: object.nullable.contains(name),
            });
        }
        let is_defined = |name: &str| properties.iter().any(|property| &*property.name == name);
        match object.required.iter().chain(&object.nullable).find(|name| !is_defined(name)) {
            Some(name) => Err(CompileFault::UndefinedProperty(name.to_string())),
            None => Ok(ObjectRule { type_rule, properties: properties.into() }),
        }
    }

    fn union(&self, union: &UnionDef, place: &str) -> Result<UnionRule, CompileFault> {
        if union.closed && union.refs.is_empty() {
            return Err(CompileFault::Unsatisfiable(place.into()));
        }
        let mut members = Vec::with_capacity(union.refs.len());
        for reference in &union.refs {
            let target = self.resolve(reference)?;
            if !target.typed {
                return Err(CompileFault::UnionMember(reference.to_string()));
            }
            members.push((self.type_name(reference).into(), target.schema));
        }
        members.sort_by(|(a, _): &(Box<str>, _), (b, _)| a.cmp(b));
        members.dedup_by(|(a, _), (b, _)| a == b);
        Ok(UnionRule { members: members.into(), closed: union.closed })
    }

    fn resolve(&self, reference: &str) -> Result<Target, CompileFault> {
        let target = self.names.get(&self.type_name(reference)).copied();
        target.ok_or_else(|| CompileFault::UnresolvedRef(reference.into()))
    }

    /// A reference as a full name: `#def` is this document's, `…#main` the document's own.
    fn type_name(&self, reference: &str) -> String {
        match reference.split_once('#') {
            Some(("", name)) => full_name(self.document, name),
            Some((document, "main")) => document.into(),
            _ => reference.into(),
        }
    }
}

fn misplaced(definition: &Definition, place: &str) -> CompileFault {
    CompileFault::Misplaced { kind: definition.kind(), place: place.into() }
}
