-- Documents of a content application, 40 objects each, about 15 KB as text: $1 users.
insert into public.user_app_state (id, user_id, version, updated_at, state)
select
    cast(md5(cast(users.n as text)) as uuid) as id,
    'user-' || to_char(users.n, 'FM000000') as user_id,
    '1.0' as version,
    now() as updated_at,
    jsonb_build_object(
        'orgs', (
            select jsonb_agg(jsonb_build_object(
                'id', 'org-' || n, 'name', 'Organisation ' || n, 'industry', 'Food', 'city', 'Köln',
                'isSensitive', false, 'logo', null, 'createdAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 2) as n
        ),
        'personas', (
            select jsonb_agg(jsonb_build_object(
                'id', 'ip-' || n, 'orgId', 'org-' || 1 + n % 2, 'name', 'Persona ' || n,
                'bio', repeat('bio ', 20), 'status', 'active', 'avgTicketSize', 120.5,
                'brandBook', jsonb_build_object('voice', jsonb_build_array('warm')),
                'createdAt', '2025-01-01T08:00:00.000Z', 'updatedAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 4) as n
        ),
        'accounts', (
            select jsonb_agg(jsonb_build_object(
                'id', 'acc-' || n, 'personaId', 'ip-' || n, 'platform', 'wechat',
                'accountId', 'p' || n, 'accountName', 'name', 'followers', n * 100,
                'isVerified', true, 'status', 'connected', 'createdAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 4) as n
        ),
        'contents', (
            select jsonb_agg(jsonb_build_object(
                'id', 'c-' || n, 'personaId', 'ip-' || 1 + n % 4, 'accountId', 'acc-' || 1 + n % 4,
                'platform', 'wechat', 'title', 'Title ' || n, 'topicCluster', 'skin',
                'format', 'video', 'script', jsonb_build_object('hook', repeat('word ', 40)),
                'evidenceIds', jsonb_build_array(), 'status', 'draft', 'publishedAt', null,
                'weekNumber', n, 'createdAt', '2025-01-01T08:00:00.000Z',
                'updatedAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 14) as n
        ),
        'leads', (
            select jsonb_agg(jsonb_build_object(
                'id', 'l-' || n, 'personaId', 'ip-1', 'name', 'Lead ' || n,
                'contact', 'x@example.org', 'platform', 'wechat', 'source', 'comment',
                'sourceContentId', 'c-' || n, 'status', 'new', 'tags', jsonb_build_array('hot'),
                'notes', '', 'createdAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 10) as n
        ),
        'references', (
            select jsonb_agg(jsonb_build_object(
                'id', 'r-' || n, 'personaId', 'ip-1', 'type', 'article', 'title', 'T',
                'url', 'https://example.org', 'isInspiration', true,
                'collectedAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 3) as n
        ),
        'inboxItems', (
            select jsonb_agg(jsonb_build_object(
                'id', 'in-' || n, 'personaId', 'ip-1', 'type', 'voice', 'title', 'Memo',
                'transcript', repeat('hello ', 20), 'duration', 12.5, 'status', 'new',
                'createdAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 3) as n
        ),
        'settings', jsonb_build_object('language', 'zh')
    ) as state
from generate_series(1, cast($1 as integer)) as users (n)
