-- Times are milliseconds since the epoch; ids are UUIDs (native).

-- The page that is writing a pair's target just now; single messages wait for it.
alter table mapping add column claimed_by uuid;
create index mapping_claim on mapping (claimed_by) where claimed_by is not null;

-- A run of a job that takes many pages. At most one of a stream is open.
create table run (
    id              uuid    not null primary key,
    connection      text    not null,
    stream          text    not null,
    scope           text    not null,
    state           text    not null,
    position        jsonb   not null,
    approved_by     text,
    approved_reason text,
    started         bigint  not null,
    ended           bigint
);
create unique index run_open on run (connection, stream) where state = 'open';
create index run_latest on run (connection, stream, started);

-- What a run found on both sides, until it ends.
create table run_record (
    run             uuid    not null,
    name            text    not null,
    rank            bigint  not null,
    source          text,
    source_quantity bigint,
    source_updated  bigint,
    target          text,
    target_key      text,
    target_version  bigint,
    target_quantity bigint,
    written         bigint  not null,
    primary key (run, name)
);
create index run_record_rank on run_record (run, rank, name);

-- What the Import API has taken and not written yet.
create table import_operation (
    connection      text    not null,
    id              text    not null,
    container       text    not null,
    resource_key    text    not null,
    subject         text    not null,
    fluent_ref      text    not null,
    quantity        bigint  not null,
    updated_on      text,
    sent            bigint  not null,
    primary key (connection, id)
);
create index import_operation_container on import_operation (connection, container);
create index import_operation_subject on import_operation (connection, subject);
