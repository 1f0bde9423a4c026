import '@testing-library/jest-dom';
import { act, fireEvent, screen, waitFor } from '@testing-library/react';

import { failed } from '../../testing/server';
import { click, element, missing, show, withCluster, world } from './shown';

jest.mock('@jupyterlab/apputils', () => ({ Clipboard: { copyToSystem: () => undefined } }));

describe('the login', () => {
  const URL = 'https://pachd.example/dex/auth?x=1';
  const begun = () => ({ auth_url: URL, oidc_state: 's' });
  const someWindow = () => ({ opener: window, closed: false, location: { href: '' }, close: jest.fn() });

  function open(opened: ReturnType<typeof someWindow> | null): jest.SpyInstance {
    return jest.spyOn(window, 'open').mockReturnValue(opened as unknown as Window);
  }

  it('is no matter where the cluster has none', async () => {
    await show();
    missing('login');
    missing('logout');
    expect(element('user')).toHaveTextContent('asks for no login');
  });

  it('opens a window by the click itself, and goes on there', async () => {
    world.state = withCluster({ auth: 'logged-out' });
    let answer: (value: unknown) => void = () => undefined;
    const opened = someWindow();
    const spy = open(opened);
    const context = await show({ 'PUT auth/_login': () => new Promise(resolve => (answer = resolve)) });
    fireEvent.click(element('login'));
    expect(spy).toHaveBeenCalledWith('', '', expect.stringContaining('width=500,height=500'));
    await act(async () => answer(begun()));
    await waitFor(() => expect(opened.location.href).toBe(URL));
    expect(opened.opener).toBeNull();
    expect(element('loginUrl')).toHaveAttribute('href', URL);

    world.state = withCluster({
      auth: 'logged-in',
      username: 'user:ada@example.com',
      login_expires: 1795883672
    });
    await act(() => context.model.refreshState());
    expect(element('user')).toHaveTextContent('Logged in as user:ada@example.com.');
    expect(element('loginExpires')).toHaveTextContent(new Date(1795883672000).toLocaleString());
    missing('login');
    missing('loginWaiting');
    expect(context.shown.view).toBe('settings');
  });

  it('is locked for two seconds, and not known of after three minutes', async () => {
    jest.useFakeTimers({ advanceTimers: true });
    world.state = withCluster({ auth: 'logged-out' });
    const spy = open(someWindow());
    await show({ 'PUT auth/_login': begun });
    fireEvent.click(element('login'));
    await screen.findByTestId('Config__loginUrl');
    fireEvent.click(element('login'));
    expect(spy).toHaveBeenCalledTimes(1);
    act(() => jest.advanceTimersByTime(2000));
    fireEvent.click(element('login'));
    expect(spy).toHaveBeenCalledTimes(2);
    await screen.findByTestId('Config__loginUrl');
    act(() => jest.advanceTimersByTime(180000));
    missing('loginUrl');
    expect(screen.getByText(/within three minutes/)).toBeInTheDocument();
  });

  it('tells why it failed, until another one begins', async () => {
    world.state = withCluster({ auth: 'logged-out' });
    open(someWindow());
    const context = await show({ 'PUT auth/_login': begun });
    await click('login');
    await screen.findByTestId('Config__loginUrl');
    const error = { id: 'login', error: 'nobody logged in', why: 'the time is over', hint: '' };
    world.state = { ...world.state, login: { state: 'failed', error } };
    await act(() => context.model.refreshState());
    expect(element('loginFailed')).toHaveTextContent('The login failed: nobody logged in — the time is over');
    missing('loginUrl');
    world.state = { ...world.state, login: { state: 'waiting', error: null } };
    await act(() => context.model.refreshState());
    missing('loginFailed');
    expect(element('loginUrl')).toBeInTheDocument();
  });

  it('shows its address where the browser opens no window', async () => {
    world.state = withCluster({ auth: 'logged-out' });
    open(null);
    await show({ 'PUT auth/_login': begun });
    await click('login');
    expect(await screen.findByTestId('Config__loginWaiting')).toHaveTextContent(
      'The browser opened no window'
    );
    expect(element('loginUrl')).toHaveTextContent(URL);
  });

  it.each([
    ['a refusal', () => failed(500, "auth isn't activated on the cluster"), "auth isn't activated"],
    ['no web page', () => ({ auth_url: 'javascript:alert(1)', oidc_state: 's' }), 'is no web page']
  ])('closes its window after %s', async (_, answer, sentence) => {
    world.state = withCluster({ auth: 'logged-out' });
    const opened = someWindow();
    open(opened);
    await show({ 'PUT auth/_login': answer });
    await click('login');
    expect(await screen.findByTestId('Config__loginError')).toHaveTextContent(sentence);
    expect(opened.close).toHaveBeenCalled();
    expect(opened.location.href).toBe('');
  });

  it('ends with Logout', async () => {
    world.state = withCluster({ auth: 'logged-in', username: 'user:ada@example.com' });
    await show({
      'PUT auth/_logout': () => {
        world.state = withCluster({ auth: 'logged-out' });
        return new Response('');
      }
    });
    missing('login');
    await click('logout');
    expect(world.server.sent('PUT')).toEqual(['auth/_logout {"staged":"keep"}']);
    await waitFor(() => expect(element('user')).toHaveTextContent('Not logged in.'));
    expect(element('user')).toHaveFocus();
    expect(element('login')).toBeEnabled();
  });
});
