// SPDX-License-Identifier: Apache-2.0
// The JavaScript client against a server: objects of several groups made, read, changed, followed and deleted.
// Prints one line for each step; exits with 1 at the first that is not as it should be.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import * as k8s from '@kubernetes/client-node';

const config = new k8s.KubeConfig();
config.loadFromFile(process.env.KUBECONFIG);
const core = config.makeApiClient(k8s.CoreV1Api), apps = config.makeApiClient(k8s.AppsV1Api);
const namespace = `js-${process.pid}`;

async function until(what, check) {
	for (let end = Date.now() + 20000; Date.now() < end; await sleep(20))
		if (await check())
			return;
	assert.fail(`not within 20 s: ${what}`);
}

async function fails(code, reason, call) {
	await assert.rejects(call, e => {
		const body = typeof e.body === 'string' ? JSON.parse(e.body) : e.body;
		assert.equal(e.code, code);
		assert.equal(body.kind, 'Status');
		assert.equal(body.reason, reason);
		return true;
	});
}

const configMap = (name, data) => ({ metadata: { name, labels: { tour: 'yes' } }, data });

const steps = {
	async 'version and discovery'() {
		const version = await config.makeApiClient(k8s.VersionApi).getCode();
		assert.equal(version.major, '1');
		const groups = await config.makeApiClient(k8s.ApisApi).getAPIVersions();
		assert.ok(groups.groups.some(g => g.name === 'apps'));
	},
	async 'create, read, replace, conflict'() {
		await core.createNamespace({ body: { metadata: { name: namespace } } });
		const made = await core.createNamespacedConfigMap({ namespace, body: configMap('a', { k: '1' }) });
		assert.ok(made.metadata.creationTimestamp instanceof Date);
		const read = await core.readNamespacedConfigMap({ namespace, name: 'a' });
		read.data.k = '2';
		await core.replaceNamespacedConfigMap({ namespace, name: 'a', body: read });
		await fails(409, 'Conflict', () => core.replaceNamespacedConfigMap({ namespace, name: 'a', body: read }));
		await fails(409, 'AlreadyExists', () => core.createNamespacedConfigMap({ namespace, body: configMap('a') }));
		await fails(404, 'NotFound', () => core.readNamespacedConfigMap({ namespace, name: 'none' }));
		await fails(422, 'Invalid', () => core.createNamespacedConfigMap({ namespace, body: configMap('NO') }));
	},
	async 'patches'() {
		const type = t => k8s.setHeaderOptions('Content-Type', t);
		await core.patchNamespacedConfigMap({ namespace, name: 'a', body: [{ op: 'replace', path: '/data/k', value: '3' }] },
			type(k8s.PatchStrategy.JsonPatch));
		await core.patchNamespacedConfigMap({ namespace, name: 'a', body: { data: { m: '4' } } }, type(k8s.PatchStrategy.MergePatch));
		await core.patchNamespacedConfigMap({ namespace, name: 'a', body: { data: { k: null } } },
			type(k8s.PatchStrategy.StrategicMergePatch));
		assert.deepEqual((await core.readNamespacedConfigMap({ namespace, name: 'a' })).data, { m: '4' });
		const objects = k8s.KubernetesObjectApi.makeApiClient(config);
		await objects.patch({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied', namespace }, data: { x: '1' } },
			undefined, undefined, 'tour', true, k8s.PatchStrategy.ServerSideApply);
		const applied = await core.readNamespacedConfigMap({ namespace, name: 'applied' });
		assert.equal(applied.metadata.managedFields[0].manager, 'tour');
	},
	async 'lists by pages and selectors'() {
		for (let i = 0; i < 25; i++)
			await core.createNamespacedConfigMap({ namespace, body: configMap(`page-${i}`) });
		const seen = [];
		let next;
		do {
			const page = await core.listNamespacedConfigMap({ namespace, labelSelector: 'tour=yes', limit: 10, _continue: next });
			assert.ok(page.items.length <= 10);
			seen.push(...page.items.map(i => i.metadata.name));
			next = page.metadata._continue;
		} while (next);
		assert.equal(new Set(seen).size, 26);
		const one = await core.listNamespacedConfigMap({ namespace, fieldSelector: 'metadata.name=page-7' });
		assert.equal(one.items.length, 1);
	},
	async 'a watch shows every change in order'() {
		const list = await core.listNamespacedConfigMap({ namespace }), events = [];
		const watch = await new k8s.Watch(config).watch(`/api/v1/namespaces/${namespace}/configmaps`,
			{ resourceVersion: list.metadata.resourceVersion }, (type, o) => events.push(`${type} ${o.metadata.name} ${o.data?.n ?? ''}`), () => {});
		await core.createNamespacedConfigMap({ namespace, body: configMap('seen', { n: '0' }) });
		for (let n = 1; n <= 5; n++)
			await core.replaceNamespacedConfigMap({ namespace, name: 'seen', body: configMap('seen', { n: `${n}` }) });
		await core.deleteNamespacedConfigMap({ namespace, name: 'seen' });
		await until('seven events', () => events.length >= 7);
		watch.abort();
		assert.deepEqual(events, ['ADDED seen 0', 'MODIFIED seen 1', 'MODIFIED seen 2', 'MODIFIED seen 3', 'MODIFIED seen 4', 'MODIFIED seen 5',
			'DELETED seen 5']);
	},
	async 'an informer keeps up, also when it is stopped and started'() {
		const known = new Map();
		const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/secrets`, () => core.listNamespacedSecret({ namespace }));
		informer.on('add', o => known.set(o.metadata.name, o.metadata.resourceVersion));
		informer.on('update', o => known.set(o.metadata.name, o.metadata.resourceVersion));
		informer.on('delete', o => known.delete(o.metadata.name));
		const errors = [];
		informer.on('error', e => e?.name === 'AbortError' || errors.push(`${e}`));   // stop() aborts its own request
		await informer.start();
		for (let i = 0; i < 30; i++) {
			await core.createNamespacedSecret({ namespace, body: { metadata: { name: `s${i}` }, stringData: { v: `${i}` } } });
			if (i % 3 === 0)
				await core.deleteNamespacedSecret({ namespace, name: `s${i}` });
			if (i === 15) {
				await informer.stop();
				await informer.start();
			}
		}
		const truth = async () => new Map((await core.listNamespacedSecret({ namespace })).items.map(s => [s.metadata.name, s.metadata.resourceVersion]));
		await until('the informer knows what is there', async () => {
			const there = await truth();
			return there.size === known.size && [...there].every(([n, v]) => known.get(n) === v);
		});
		await informer.stop();
		assert.deepEqual(errors, []);
	},
	async 'a Deployment comes up, is scaled, and goes with what it owns'() {
		const labels = { app: 'web' };
		await apps.createNamespacedDeployment({ namespace, body: { metadata: { name: 'web' }, spec: { replicas: 2, selector: { matchLabels: labels },
			template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } } } } });
		const ready = async n => (await apps.readNamespacedDeployment({ namespace, name: 'web' })).status.readyReplicas === n;
		await until('two are ready', () => ready(2));
		const scale = await apps.readNamespacedDeploymentScale({ namespace, name: 'web' });
		scale.spec.replicas = 3;
		await apps.replaceNamespacedDeploymentScale({ namespace, name: 'web', body: scale });
		await until('three are ready', () => ready(3));
		await apps.deleteNamespacedDeployment({ namespace, name: 'web' });
		await until('its pods are gone', async () => (await core.listNamespacedPod({ namespace })).items.length === 0);
	},
	async 'a token of a service account may read what its role says'() {
		const rbac = config.makeApiClient(k8s.RbacAuthorizationV1Api);
		await core.createNamespacedServiceAccount({ namespace, body: { metadata: { name: 'reader' } } });
		await rbac.createNamespacedRole({ namespace, body: { metadata: { name: 'reader' },
			rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list'] }] } });
		await rbac.createNamespacedRoleBinding({ namespace, body: { metadata: { name: 'reader' },
			roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
			subjects: [{ kind: 'ServiceAccount', name: 'reader', namespace }] } });
		const request = await core.createNamespacedServiceAccountToken({ namespace, name: 'reader', body: { spec: { audiences: [], expirationSeconds: 600 } } });
		const other = new k8s.KubeConfig(), cluster = config.getCurrentCluster();
		other.loadFromOptions({ clusters: [cluster], users: [{ name: 'sa', token: request.status.token }],
			contexts: [{ name: 'sa', user: 'sa', cluster: cluster.name }], currentContext: 'sa' });
		const limited = other.makeApiClient(k8s.CoreV1Api);
		assert.ok((await limited.listNamespacedConfigMap({ namespace })).items.length > 20);
		await fails(403, 'Forbidden', () => limited.listNamespacedSecret({ namespace }));
	},
	async 'custom resources'() {
		const extensions = config.makeApiClient(k8s.ApiextensionsV1Api), custom = config.makeApiClient(k8s.CustomObjectsApi);
		const group = 'tour.example.com', plural = 'boats', version = 'v1';
		await extensions.createCustomResourceDefinition({ body: { metadata: { name: `${plural}.${group}` }, spec: { group, scope: 'Namespaced',
			names: { plural, singular: 'boat', kind: 'Boat' }, versions: [{ name: version, served: true, storage: true, schema: { openAPIV3Schema: {
				type: 'object', properties: { spec: { type: 'object', properties: { oars: { type: 'integer', _default: 2, maximum: 8 } } } } } } }] } } });
		await until('it is established', async () => (await extensions.readCustomResourceDefinition({ name: `${plural}.${group}` }))
			.status?.conditions?.some(c => c.type === 'Established' && c.status === 'True'));
		const boat = (name, spec) => ({ group, version, namespace, plural, body: { apiVersion: `${group}/${version}`, kind: 'Boat', metadata: { name }, spec } });
		const made = await custom.createNamespacedCustomObject(boat('one', {}));
		assert.equal(made.spec.oars, 2);
		await fails(422, 'Invalid', () => custom.createNamespacedCustomObject(boat('two', { oars: 9 })));
		await extensions.deleteCustomResourceDefinition({ name: `${plural}.${group}` });
	},
	async 'the namespace goes with all that is in it'() {
		await core.deleteNamespace({ name: namespace });
		await until('it is gone', async () => !(await core.listNamespace()).items.some(n => n.metadata.name === namespace));
	},
};

for (const [name, step] of Object.entries(steps)) {
	await step();
	console.log(`ok ${name}`);
}
process.exit(0);
