from fpserver.store.connect import Client, load_functions


async def test_a_client_answers(client: Client) -> None:
    assert await client.ping()


async def test_functions_are_there_after_loading_twice(client: Client) -> None:
    source = (
        "#!lua name=t_hello\nredis.register_function('t_hello', function(keys, args) return args[1] end)\n"
    )
    await load_functions(client, source)
    await load_functions(client, source)
    assert await client.execute_command("FCALL", "t_hello", 1, "k", "x") == b"x"
    await load_functions(client, source.replace("args[1]", "'new'"))
    assert await client.execute_command("FCALL", "t_hello", 1, "k", "x") == b"new"
